"""Finds non-finite numbers in files: without torch, a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sweeplora.tensors.stored import ITEM_SIZES, Stored

_EXPONENTS = {
    "F64": 0x7FF0_0000_0000_0000,
    "F32": 0x7F80_0000,
    "F16": 0x7C00,
    "BF16": 0x7F80,
    "F8_E5M2": 0x7C,
    "F8_E4M3": 0x7F,  # has no infinity; its only NaN has all bits set
}
"""Bits that are all set in infinities and NaNs but in no finite number, by safetensors' type names."""

_CHUNK = 1 << 24


def first_not_finite(tensors: Mapping[str, Stored]) -> str | None:
    """The name of the first tensor, in file order, that holds an infinity or a NaN; None if there is none."""
    ordered = sorted(tensors.items(), key=lambda item: (item[1].file, item[1].offset))
    return next((name for name, stored in ordered if _is_not_finite(stored)), None)


def _is_not_finite(stored: Stored) -> bool:
    exponent = _EXPONENTS.get(stored.dtype)
    if exponent is None:
        return False
    kind = np.dtype(f"<u{ITEM_SIZES[stored.dtype]}")
    mask = kind.type(exponent)
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        left = stored.extent
        while left:
            data = stream.read(min(left, _CHUNK))
            if not data:
                return False  # truncated since its header was read; the code that reads the numbers reports it
            left -= len(data)
            bits = np.frombuffer(data[: len(data) // kind.itemsize * kind.itemsize], kind)
            if ((bits & mask) == mask).any():
                return True
    return False
