"""Torch's switches and hooks that hold for a whole process, by name: what a user's part could leave changed."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.backends import ContextProp
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

_LIBRARIES = ("transformers", "diffusers")

_SWITCHES: tuple[Callable[[], Any], ...] = (
    torch.is_grad_enabled,
    torch.is_inference_mode_enabled,
    torch.is_anomaly_enabled,
    torch.is_anomaly_check_nan_enabled,
    torch.get_default_dtype,
    torch.get_default_device,
    torch.get_num_threads,
    torch.get_float32_matmul_precision,
    torch.are_deterministic_algorithms_enabled,
    torch.is_deterministic_algorithms_warn_only_enabled,
    torch.is_autocast_cache_enabled,
    torch.backends.cuda.flash_sdp_enabled,
    torch.backends.cuda.mem_efficient_sdp_enabled,
    torch.backends.cuda.math_sdp_enabled,
    torch.backends.cuda.cudnn_sdp_enabled,
    torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed,
)
_WHOLE_BACKENDS = ("cudnn", "mkldnn")
_OF_BACKENDS = (
    *("cudnn.conv.fp32_precision", "cudnn.rnn.fp32_precision"),
    *("mkldnn.conv.fp32_precision", "mkldnn.rnn.fp32_precision", "mkldnn.matmul.fp32_precision"),
    *("cuda.matmul.fp32_precision", "cuda.matmul.allow_tf32", "cuda.matmul.allow_fp16_accumulation"),
    "cuda.matmul.allow_fp16_reduced_precision_reduction",
    "cuda.matmul.allow_bf16_reduced_precision_reduction",
)


def torch_state() -> dict[str, Any]:
    """The process-wide switches and hooks of torch: name -> something to compare."""
    found = {f"torch: {switch.__name__}": switch() for switch in _SWITCHES}
    for device in ("cpu", "cuda"):
        found[f"torch: autocast on {device}"] = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    named = [*_OF_BACKENDS]
    for name in _WHOLE_BACKENDS:
        switches = vars(type(getattr(torch.backends, name))).items()
        named += [f"{name}.{key}" for key, value in switches if isinstance(value, ContextProp)]
    found |= {f"torch.backends.{name}": _switch(name) for name in named}
    for place in (module_hooks, optimizer_hooks):
        hooks = {key: value for key, value in vars(place).items() if key.startswith("_global_")}
        found |= {f"torch: {key}": foreign(value) for key, value in hooks.items() if isinstance(value, dict)}
    return {
        **found,
        "torch: set_flush_denormal": _flushes_denormals(sys.float_info.min),
        "torch: nn.Module.__call__": nn.Module.__call__,
        "gc.isenabled": gc.isenabled(),
    }


def foreign(hooks: Mapping[int, Any] | None) -> tuple[int, ...]:
    """The hooks that are not the model's own libraries', each by the number that torch gives it once in a process.

    transformers adds some when an encoder is first used.
    """
    if not hooks:
        return ()
    called = {key: hook for key, hook in hooks.items() if callable(hook)}
    return tuple(key for key, hook in called.items() if str(hook.__module__).partition(".")[0] not in _LIBRARIES)


def _switch(name: str) -> Any:
    """A switch of a backend, or why torch does not tell it: its old and new names for TF32 exclude one another."""
    try:
        return attrgetter(name)(torch.backends)
    except RuntimeError as error:
        return str(error)


def _flushes_denormals(smallest: float) -> bool:
    """Whether the processor takes numbers below the smallest normal one for zero, which torch does not tell."""
    return smallest / 2 == 0.0
