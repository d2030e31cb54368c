"""The least number that a key takes, as the source of its target declares it: a batch holds one image or more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from annotated_types import Ge
from yaml import YAMLError

from sweeplora.config.signatures import signature_of
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.yaml_text import read_yaml


def least_of(folder: Path, key: str) -> float | None:
    """The least value of a run's key such as `train.batch_size`; None if its target declares none."""
    group, _, name = key.partition(".")
    try:
        node = read_yaml(RunDir(folder).config.read_text())[group]
        signature = signature_of(node["_target_"], key)
    except (OSError, YAMLError, UserError, LookupError, TypeError):
        return None
    parameter = signature.parameters.get(name) if signature is not None else None
    return max(_lower_limits(parameter.type), default=None) if parameter is not None else None


def _lower_limits(kind: Any) -> Iterator[float]:
    for part in get_args(kind):
        if isinstance(part, Ge):
            yield float(part.ge)  # type: ignore[arg-type]
        else:
            yield from _lower_limits(part)
