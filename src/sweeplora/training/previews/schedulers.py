"""diffusers' schedulers by sampler name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

_Scheduler = tuple[str, str, dict[str, Any]]
"""Module and class in diffusers.schedulers, and fixed options."""

_DDIM: _Scheduler = ("ddim", "DDIMScheduler", {"clip_sample": False})
_LMS: _Scheduler = ("lms_discrete", "LMSDiscreteScheduler", {})
_EULER: _Scheduler = ("euler_discrete", "EulerDiscreteScheduler", {})
_EULER_A: _Scheduler = ("euler_ancestral_discrete", "EulerAncestralDiscreteScheduler", {})
_DPM_2: _Scheduler = ("k_dpm_2_discrete", "KDPM2DiscreteScheduler", {})
_DPM_2_A: _Scheduler = ("k_dpm_2_ancestral_discrete", "KDPM2AncestralDiscreteScheduler", {})
_DPM_SOLVER = "dpmsolver_multistep", "DPMSolverMultistepScheduler"

_SCHEDULERS: dict[str, _Scheduler] = {
    "ddim": _DDIM,
    "pndm": ("pndm", "PNDMScheduler", {}),
    "lms": _LMS,
    "k_lms": _LMS,
    "euler": _EULER,
    "k_euler": _EULER,
    "euler_a": _EULER_A,
    "k_euler_a": _EULER_A,
    "heun": ("heun_discrete", "HeunDiscreteScheduler", {}),
    "dpm_2": _DPM_2,
    "k_dpm_2": _DPM_2,
    "dpm_2_a": _DPM_2_A,
    "k_dpm_2_a": _DPM_2_A,
    "dpmsolver": (*_DPM_SOLVER, {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    "dpmsolver++": (*_DPM_SOLVER, {"algorithm_type": "dpmsolver++"}),
    "dpmsingle": ("dpmsolver_singlestep", "DPMSolverSinglestepScheduler", {"lower_order_final": True}),
}

_BY_TIMESTEPS = frozenset({"ddim", "pndm"})

_ALMOST_NO_SIGNAL = 2**-24
"""Replaces 0 in the cumulative products, where the noise level would be infinite; the value of diffusers."""


def make_scheduler(sampler: str, karras: bool, prediction: str, alphas_cumprod: Tensor) -> Any:
    """diffusers' scheduler for a sampler's name, over a model's noise schedule [T].

    Sigmas, timesteps and their spacing match the reference (`get_my_scheduler` with diffusers 0.32.1), regardless
    of spacing and offset in the model's scheduler_config.json. There are three differences. The reference clips
    the predicted image of `ddim` and `heun` to [-1, 1], which latents exceed; here nothing is clipped. Its
    `dpmsolver` fails with an error; here it ends at the smallest sigma, as diffusers requires. It samples a model
    of zero terminal SNR with betas that are not rescaled; here every sampler uses the schedule of the training, and
    samplers that step through timesteps start at the last one (`trailing`, Lin et al. 2023, arXiv:2305.08891,
    section 3.3), where the others start anyway. `samplers.check_from_pure_noise` refuses samplers that fail from
    there.
    """
    module, name, options = _SCHEDULERS[sampler]
    products = alphas_cumprod.double()
    terminal = float(products[-1]) == 0
    if terminal:
        products = products.clamp_min(_ALMOST_NO_SIGNAL)
    alphas = torch.cat([products[:1], products[1:] / products[:-1]])
    options = {**options, "trained_betas": (1 - alphas).tolist(), "num_train_timesteps": len(products)}
    if terminal and sampler in _BY_TIMESTEPS:
        options["timestep_spacing"] = "trailing"
    if karras:
        options["use_karras_sigmas"] = True
    scheduler_class = getattr(import_module(f"diffusers.schedulers.scheduling_{module}"), name)
    return scheduler_class(prediction_type=prediction, **options)
