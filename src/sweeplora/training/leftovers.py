"""What a training must not leave in a process that goes on: changes of the base and of torch, and modules of a user."""

from __future__ import annotations

import ctypes
import importlib
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeplora.config.imports import is_users
from sweeplora.models.family import Family
from sweeplora.randomness import seed_of
from sweeplora.training.process_state import process_state
from sweeplora.training.torch_state import foreign, torch_state

State = dict[str, Any]

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PLAIN = (bool, int, float, str, tuple)
"""Types of a module's own attributes that count, such as `eps` and `stride`. Those of private names are left out: the
libraries keep notes there."""


def state_of(family: Family) -> State:
    """All that a training could change in the base in memory: name -> something to compare.

    Every tensor counts with the sum of its bits, which takes as long as reading it once.
    """
    return {f"{part}.{name}": found for part, model in family.held().items() for name, found in _parts_of(model)}


def process_wide() -> State:
    """What holds for all that the process computes: torch's switches and hooks, NumPy's and Python's settings."""
    return torch_state() | process_state()


def differences(before: State, after: State) -> list[str]:
    """The names whose state is another one, or which are new or gone."""
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def seed_ambient(seed: int, device: torch.device) -> None:
    """Seed the generators that nothing of ours draws from, but a user's part may: the same before every training."""
    number = seed_of(seed, "ambient")
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.manual_seed(number)


def users_modules(names: Iterable[str]) -> dict[str, Path]:
    """Those of the loaded modules that are a user's own, with their files."""
    found = {}
    for name in names:
        module = sys.modules[name]
        file = getattr(module, "__file__", None)
        if file is not None and module.__spec__ is not None and is_users(name.partition(".")[0]):
            found[name] = Path(file)
    return found


def forget(modules: Iterable[str]) -> None:
    """Have modules imported anew when they are next asked for, in case their files or their values have changed."""
    for name in modules:
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def free_memory(device: torch.device) -> None:
    """Give back what the last training used, and count the peak anew."""
    torch.clear_autocast_cache()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError), open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")


def _parts_of(model: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in model.named_modules():
        own = vars(module)
        hooks = [foreign(own[kind]) for kind in _HOOKS]
        plain = {key: value for key, value in own.items() if type(value) in _PLAIN and not key.startswith("_")}
        yield f"{name}:", [type(module), type(module).forward, "forward" in own, hooks, plain]
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    for (name, tensor), total in zip(tensors.items(), _totals(list(tensors.values())), strict=True):
        hooks = [foreign(tensor._backward_hooks), foreign(tensor._post_accumulate_grad_hooks)]
        told = [tensor.shape, tensor.dtype, tensor.device, tensor.requires_grad, tensor.grad is None, total]
        yield name, [*told, hooks]


@torch.no_grad()
def _totals(tensors: Sequence[Tensor]) -> list[int]:
    sums = [_total(tensor) for tensor in tensors]
    return [int(one) for one in torch.stack([one.cpu() for one in sums]).tolist()] if sums else []


def _total(tensor: Tensor) -> Tensor:
    """The sum of a tensor's bits as integers, modulo 2**64."""
    flat = tensor.detach().flatten()
    size = flat.element_size()
    # A tensor read out of a file's bytes may begin anywhere in them.
    if flat.numel() * size % 8 == 0 and flat.storage_offset() * size % 8 == 0 and flat.numel():
        return flat.view(torch.int64).sum()
    return flat.view(_WORDS[size]).sum(dtype=torch.int64)
