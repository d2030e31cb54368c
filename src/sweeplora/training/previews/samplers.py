"""The samplers of preview images by their common names, and the limits of each; no torch."""

from __future__ import annotations

from typing import Literal, get_args

from sweeplora.errors import UserError

Sampler = Literal[
    "ddim", "pndm", "lms", "euler", "euler_a", "heun", "dpm_2", "dpm_2_a", "dpmsolver", "dpmsolver++",
    "dpmsingle", "k_lms", "k_euler", "k_euler_a", "k_dpm_2", "k_dpm_2_a",
]  # fmt: skip
"""Names as in sd-scripts; the prefix `k_` has no effect, as in sd-scripts."""

WITHOUT_KARRAS = frozenset({"ddim", "pndm", "euler_a", "k_euler_a"})
"""Samplers that step through timesteps, or whose diffusers scheduler has no Karras option."""

_LEAST_STEPS = {"pndm": 4}
"""PNDM starts with a Runge-Kutta method over four steps."""

_LEAST_STEPS_FROM_PURE_NOISE = dict.fromkeys(("heun", "dpm_2_a", "k_dpm_2_a"), 30)
"""They correct a step by the slope at its end, which is far off for a step that starts from pure noise."""


def check_sampler(sampler: Sampler, steps: int, karras: bool, whose: str = "") -> None:
    """Raise UserError for a sampler on which Karras sigmas have no effect, or that needs more steps.

    `whose` names the prompt that asks for it, if it is not the settings.
    """
    if karras and sampler in WITHOUT_KARRAS:
        able = ", ".join(name for name in get_args(Sampler) if name not in WITHOUT_KARRAS)
        mend = f"{whose}sampler {sampler} has no Karras sigmas; use false, or one of {able}"
        raise UserError("sample.karras", karras, mend)
    least = _LEAST_STEPS.get(sampler, 1)
    if steps < least:
        raise UserError("sample.steps", steps, f"{whose}sampler {sampler} needs at least {least}")


def check_from_pure_noise(sampler: Sampler, steps: int, karras: bool, whose: str = "") -> None:
    """Raise UserError for options that fail when sampling starts from pure noise, on a model of zero terminal SNR.

    Its first noise level is infinite. Karras et al. space the levels between finite ones; with a huge value in place
    of infinity, several of them fall on the last timestep.
    """
    if karras:
        raise UserError("sample.karras", karras, "a model of zero terminal SNR has no highest noise level; use false")
    least = _LEAST_STEPS_FROM_PURE_NOISE.get(sampler, 1)
    if steps < least:
        mend = f"{whose}sampler {sampler} needs at least {least} on a model of zero terminal SNR; or use euler"
        raise UserError("sample.steps", steps, mend)
