"""The group `nightly` of a configuration: what sweeps/nightly.yaml says of a night."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge

from sweeplora.config.binding import value_error
from sweeplora.config.nearest import nearest
from sweeplora.errors import Problems, UserError

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
    kinds = get_type_hints(Nightly, include_extras=True)
    names, problems = [field.name for field in fields(Nightly)], Problems()
    for key, value in group.items():
        error = (
            value_error(f"nightly.{key}", value, kinds[key])
            if key in names
            else UserError(f"nightly.{key}", value, f"no such key; {nearest(str(key), names)}")
        )
        if error is not None:
            problems.add(error)
    for name in names:
        if name not in group:
            problems.add(UserError(f"nightly.{name}", "missing", "a night needs every key of sweeps/nightly.yaml"))
    problems.refuse()
    found = Nightly(**{str(key): value for key, value in group.items()})
    _refuse_senseless(found, problems)
    problems.refuse()
    return found


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
