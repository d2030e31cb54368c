"""Refuses sweeps whose trials would be measured in different precisions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sweeplora.errors import UserError

_MEASURED = "train.validation_precision"
_KEYS = ("train.mixed_precision", "train.network_precision", "model.base_precision")


def check_precision(configs: Sequence[Mapping[str, Any]], searched: Collection[str]) -> None:
    """Raise UserError unless the trials' validation losses are comparable.

    `configs` cover the choices of the space, or the first ones; `searched` are the keys of all.

    Half precision changes a loss by more than many settings do. So trials that differ in precision are compared in
    float32, and those that do not, all in the same one.
    """
    measured = list(_values(configs, _MEASURED))
    if len(measured) > 1 or _MEASURED in searched:
        mend = "trials measured differently cannot be compared; give it one value outside of the space"
        raise UserError(_MEASURED, " and ".join(map(str, measured)), mend)
    if measured != ["run"]:
        return
    for key in _KEYS:
        swept = list(_values(configs, key))
        if len(swept) > 1 or key in searched:
            told = ", ".join("null" if value is None else str(value) for value in swept)
            mend = f"this sweep varies {key} ({told}), and each trial would be measured in its own; use fp32"
            raise UserError(_MEASURED, "run", mend)


def _values(configs: Sequence[Mapping[str, Any]], key: str) -> Iterator[Any]:
    """The different values of a key, in order of appearance."""
    group, _, name = key.partition(".")
    yield from dict.fromkeys(config[group].get(name) for config in configs if group in config)
