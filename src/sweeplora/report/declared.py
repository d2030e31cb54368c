"""The least and the greatest number that a key takes, as its target's source declares: a batch has an image or more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

from annotated_types import Ge, Le
from yaml import YAMLError

from sweeplora.config.signatures import signature_of
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.yaml_text import read_yaml


class Limits(NamedTuple):
    """The least and the greatest value of a key, each None where none is declared."""

    least: float | None = None
    most: float | None = None


def limits_of(folder: Path, key: str) -> Limits:
    """What a run's key such as `train.batch_size` takes, ends included."""
    group, _, name = key.partition(".")
    try:
        node = read_yaml(RunDir(folder).config.read_text())[group]
        signature = signature_of(node["_target_"], key)
    except (OSError, YAMLError, UserError, LookupError, TypeError):
        return Limits()
    parameter = signature.parameters.get(name) if signature is not None else None
    if parameter is None:
        return Limits()
    declared = list(_declared(parameter.type))
    least = [float(one.ge) for one in declared if isinstance(one, Ge)]  # type: ignore[arg-type]
    most = [float(one.le) for one in declared if isinstance(one, Le)]  # type: ignore[arg-type]
    return Limits(max(least, default=None), min(most, default=None))


def _declared(kind: Any) -> Iterator[Ge | Le]:
    for part in get_args(kind):
        if isinstance(part, Ge | Le):
            yield part
        else:
            yield from _declared(part)
