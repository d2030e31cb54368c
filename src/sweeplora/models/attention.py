"""The ways in which a U-Net's attention can be computed, and whether this machine has them; no torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from sweeplora.errors import UserError

Kind = Literal["sdpa", "xformers", "sliced"]
"""torch's own kernel; the xformers package's; slice by slice, in less memory where torch has no such kernel."""


def check(kind: Kind) -> None:
    """Raise UserError for a kind that needs a package which is not there."""
    if kind == "xformers" and find_spec("xformers") is None:
        raise UserError("model.attention", kind, "the package is not installed; pip install xformers, or use sdpa")
