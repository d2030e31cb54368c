"""The ways to compute a U-Net's attention, and whether this machine supports them; no torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from sweeplora.errors import UserError

Kind = Literal["sdpa", "xformers", "sliced"]
"""torch's own kernel; xformers' kernel; or slice by slice, which saves memory where torch has no fused kernel."""


def check(kind: Kind) -> None:
    """Raise UserError for a kind that needs a package that is not installed."""
    if kind == "xformers" and find_spec("xformers") is None:
        raise UserError("model.attention", kind, "the package is not installed; pip install xformers, or use sdpa")
