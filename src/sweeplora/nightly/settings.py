"""The group `nightly` of a configuration: what sweeps/nightly.yaml says of a night."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge

from sweeplora.config.binding import value_error
from sweeplora.config.nearest import nearest
from sweeplora.errors import Problems, UserError
from sweeplora.nightly.blocks import Blocks

FEWEST_SEEDS = 5
"""Of a night: the exact test over three pairs cannot give less than 1 / 8, over four 1 / 16, over five 1 / 32."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Nightly:
    """The settings of a night, checked; sweeps/nightly.yaml says what each is, and has its default."""

    configurations: dict[str, list[str]]
    needs: dict[str, dict[str, Annotated[int, Ge(1)]]]
    seeds: Annotated[int, Ge(1)]
    most_seeds: Annotated[int, Ge(1)]
    baseline: str
    secondary: list[str]
    stop_at_canary: bool
    speed: Blocks | None
    against: str | None
    bisect: str | None


NEEDS = ("gpus", "processes")
"""What a configuration can need of the machine; `processes`: one a GPU, or where there are none, one a core."""


def read_nightly(config: Mapping[str, Any]) -> Nightly | None:
    """The settings of a composed configuration; None if it asks for no night. Raises UserError for all that is wrong.

    An unknown key is refused as a missing one is: what is written in the group has an effect.
    """
    group = config.get("nightly")
    if group is None:
        return None
    if not isinstance(group, Mapping):
        raise UserError("nightly", group, "give the group of sweeps/nightly.yaml: +sweep=nightly")
    problems = Problems()
    for error in _errors("nightly", group, Nightly):
        problems.add(error)
    problems.refuse()
    speed = group["speed"]
    blocks = None if speed is None else Blocks(**{str(key): value for key, value in speed.items()})
    found = Nightly(**{str(key): value for key, value in group.items()} | {"speed": blocks})
    _refuse_senseless(found, problems)
    problems.refuse()
    return found


def _errors(prefix: str, group: Mapping[str, Any], schema: type[Nightly] | type[Blocks]) -> Iterator[UserError]:
    """What is wrong with the keys and values of a group."""
    kinds = get_type_hints(schema, include_extras=True)
    names = [field.name for field in fields(schema)]
    for key, value in group.items():
        name = f"{prefix}.{key}"
        if key not in names:
            yield UserError(name, value, f"no such key; {nearest(str(key), names)}")
        elif name == "nightly.speed" and isinstance(value, Mapping):
            yield from _errors(name, value, Blocks)
        elif (error := value_error(name, value, kinds[key])) is not None:
            yield error
    for name in names:
        if name not in group:
            yield UserError(f"{prefix}.{name}", "missing", "a night needs every key of sweeps/nightly.yaml")


def _refuse_senseless(found: Nightly, problems: Problems) -> None:
    if not found.configurations:
        problems.add(UserError("nightly.configurations", "{}", "name at least one, e.g. {locon: [network=locon]}"))
    for name in found.configurations:
        if not _NAME.fullmatch(name):
            mend = "names a file and a test case; use small letters, digits and _"
            problems.add(UserError("nightly.configurations", name, mend))
    for name, needs in found.needs.items():
        if name not in found.configurations:
            mend = f"no such configuration; {nearest(name, list(found.configurations))}"
            problems.add(UserError(f"nightly.needs.{name}", dict(needs), mend))
        for what in needs:
            if what not in NEEDS:
                problems.add(UserError(f"nightly.needs.{name}.{what}", needs[what], f"give {' or '.join(NEEDS)}"))
    if found.seeds < FEWEST_SEEDS:
        mend = (
            f"a paired test over so few can hardly give p < 0.05 (three signs alone: 1/8); give {FEWEST_SEEDS} or more"
        )
        problems.add(UserError("nightly.seeds", found.seeds, mend))
    if found.most_seeds < found.seeds:
        mend = f"nightly.seeds={found.seeds} are trained anyway; give at least that"
        problems.add(UserError("nightly.most_seeds", found.most_seeds, mend))
    if found.speed is not None and found.speed.most_blocks < found.speed.blocks:
        mend = f"nightly.speed.blocks={found.speed.blocks} are measured anyway; give at least that"
        problems.add(UserError("nightly.speed.most_blocks", found.speed.most_blocks, mend))
    if found.against is not None and found.speed is None:
        problems.add(UserError("nightly.against", found.against, "has no effect with nightly.speed=null; give both"))
    if found.against is not None and found.bisect is not None:
        mend = "has no effect with nightly.bisect, which measures no speed; give one of them"
        problems.add(UserError("nightly.against", found.against, mend))
