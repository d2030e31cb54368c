"""Numbers per block of the U-Net, as written in network arguments, and the required count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.errors import UserError

COUNTS = {
    "sdxl": (23, "SDXL's U-Net: 1 embedding, 9 down, 3 mid, 9 up, 1 out"),
    "sd15": (25, "Stable Diffusion 1.5's U-Net: 12 down, 1 mid, 12 up"),
}
"""How many blocks each family has, and which they are."""

RANKS = {"block_dims": int, "block_alphas": float, "conv_block_dims": int, "conv_block_alphas": float}
RATES = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold")


def ranks(family: str, said: Mapping[str, str]) -> dict[str, list[float]]:
    """The given lists by name. Raises UserError for a wrong count, stating the right one, and for a non-number."""
    right, which = COUNTS[family]
    found: dict[str, list[float]] = {}
    for name, number in RANKS.items():
        if name not in said:
            continue
        words = said[name].split(",")
        if len(words) != right:
            mend = f"{len(words)} numbers; give {right}, one for each block of {which}"
            raise UserError(f"--network_args {name}", _shortened(said[name]), mend)
        try:
            found[name] = [number(word) for word in words]
        except ValueError as error:
            raise UserError(
                f"--network_args {name}", said[name], f"give {right} numbers with commas between"
            ) from error
    return found


def rate_entries(family: str, said: Mapping[str, str], dims: Mapping[str, list[float]]) -> list[Entry]:
    """Rates per block. A block with rate 0 gets no adapter, as in sd-scripts; `dims` are the ranks to set to 0 then."""
    names = [name for name in RATES if name in said]
    if not any(name in said for name in RATES[:3]):
        return [no_effect(f"--network_args {name}", "there are no rates by block") for name in names]
    factors = _factors(family, said)
    entries = [
        became(f"--network_args {name}", "rates.blocks", [factor or 1.0 for factor in factors]) for name in names
    ]
    if 0 in factors:
        note = "a block whose rate is 0 has no adapter, as in sd-scripts"
        for key, values in dims.items():
            kept = [value if factor else 0 for value, factor in zip(values, factors, strict=True)]
            entries.append(became(f"--network_args {names[0]}", f"network.{key}", kept, note))
    return entries


def _factors(family: str, said: Mapping[str, str]) -> list[float]:
    from sweeplora.convert.network_args.block_rates import expand_blocks

    down, mid, up = (said.get(name) for name in RATES[:3])
    try:
        threshold = float(said.get("block_lr_zero_threshold", 0))
    except ValueError as error:
        value = said["block_lr_zero_threshold"]
        raise UserError("--network_args block_lr_zero_threshold", value, "give a number") from error
    return list(expand_blocks(COUNTS[family][0], down, mid, up, threshold))


def flat(family: str, value: Any) -> list[Any]:
    """The same number for every block."""
    return [value] * COUNTS[family][0]


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
