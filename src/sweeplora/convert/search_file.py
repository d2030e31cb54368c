"""The second file that a conversion writes: a sweep around the user's own settings, which it tries first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sweeplora.convert.conversion import Conversion
from sweeplora.convert.entries import settings
from sweeplora.convert.sweep_file import written

_TRIALS = 20
_HELD_OUT = 0.1
_AROUND = 5.0
"""A learning rate is searched from a fifth of the user's to five times it."""

_RATES = ("optimizer.lr",)
_SIZES = ("network.dim", "network.alpha")


def search_text(conversion: Conversion, name: str) -> str | None:
    """The file of `+sweep=<name>`; None if the command sets nothing that a search would begin with."""
    values = dict(settings(conversion.entries))
    sweep = around(values, name)
    if sweep is None:
        return None
    remark = ""
    if values.pop("train.resume", None) is not None:
        remark += "# It begins at the first step, without train.resume: a state goes on with its own rank alone.\n"
    if values.get("network.weights") is not None:
        remark += "# Ranks are not searched: network.weights has its own.\n"
    if not values.get("data.val_split") and not values.get("data.val_dir"):
        values["data.val_split"] = _HELD_OUT
        remark += f"# A tenth of the images is held out to compare by: data.val_split={_HELD_OUT}.\n"
    header = (
        f"# A search around one training, converted from a command of sd-scripts ({conversion.command.script}).\n"
        f"# Run it with: python -m sweeplora +sweep={name}\n"
        "# The settings of the command are tried first, and are the middle of every range.\n"
    )
    block = yaml.safe_dump({"sweep": sweep}, sort_keys=False, allow_unicode=True, width=112)
    return f"# @package _global_\n{header}{remark}{written(values)}{block}"


def around(values: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The `sweep` group: the user's own point first, and ranges with it in their middle.

    The rank is not searched where a file with its own initialises the network, nor alpha where it is the file's too.
    """
    point: dict[str, Any] = {}
    space: dict[str, str] = {}
    for key in _RATES:
        rate = values.get(key)
        if isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            point[key] = float(rate)
            space[key] = f"tag(log, interval({float(f'{rate / _AROUND:.3g}')!r}, {float(f'{rate * _AROUND:.3g}')!r}))"
    of_file = (
        () if values.get("network.weights") is None else _SIZES[: 2 if values.get("network.dim_from_weights") else 1]
    )
    for key in _SIZES:
        if key in of_file:
            continue
        size = values.get(key)
        if isinstance(size, int | float) and not isinstance(size, bool) and size > 0:
            half = _halved(size) if key == "network.alpha" else max(1, size // 2)  # a rank is whole
            sizes = sorted({half, size, 2 * size})
            point[key] = size
            space[key] = f"choice({', '.join(map(str, sizes))})"
    if not space:
        return None
    return {"name": name, "objective": "val/loss", "trials": _TRIALS, "enqueue": [point], "space": space}


def _halved(size: float) -> float:
    """Half of it, whole for a whole number above 1."""
    return size // 2 if isinstance(size, int) and size > 1 else size / 2
