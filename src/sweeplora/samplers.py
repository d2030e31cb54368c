"""The samplers of preview images by the names users know, and what each of them can do; no torch."""

from __future__ import annotations

from typing import Literal, get_args

from sweeplora.errors import UserError

Sampler = Literal[
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++",
    "dpmsingle", "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
]  # fmt: skip
"""Names of sd-scripts; `k_` changes nothing there and nothing here."""

WITHOUT_KARRAS = frozenset({"ddim", "pndm", "euler_a", "k_euler_a"})
"""They step through timesteps, or have no such option in diffusers."""

_LEAST_STEPS = {"pndm": 4}
"""It opens with a Runge-Kutta method over four steps."""


def check_sampler(sampler: Sampler, steps: int, karras: bool, whose: str = "") -> None:
    """Raise UserError for a sampler on which Karras sigmas have no effect, or that needs more steps.

    `whose` says which prompt asks for it, where it is not the settings.
    """
    if karras and sampler in WITHOUT_KARRAS:
        able = ", ".join(name for name in get_args(Sampler) if name not in WITHOUT_KARRAS)
        mend = f"{whose}sampler {sampler} has no Karras sigmas; use false, or one of {able}"
        raise UserError("sample.karras", karras, mend)
    least = _LEAST_STEPS.get(sampler, 1)
    if steps < least:
        raise UserError("sample.steps", steps, f"{whose}sampler {sampler} needs at least {least}")
