"""One layer's LyCORIS module: made, its update, its output beside the layer, its tensors in a file.

The one contact with lycoris_lora. Its classes hold the parameters and build the updates; what its forwards get
wrong or do slowly is done here.
"""

from __future__ import annotations

import logging
import os
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from lycoris.modules.base import LycorisBaseModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.networks.algorithms import Algorithm, LoCon, LoHa, LoKr, rank_of

# It warns on the standard output about every LoKr factor that is small enough to be kept whole.
logging.getLogger("LyCORIS").setLevel(logging.ERROR)

# Left to itself, on a GPU it times several kernels and keeps the fastest: another machine, other numbers.
os.environ["LYCORIS_KERNEL_BACKEND"] = "torch"

Layer = nn.Linear | nn.Conv2d

_CHEAP_TO_REBUILD = 100_000
"""Weights of a layer below which a Kronecker product is built faster than applied in two steps (measured)."""


class Drop(NamedTuple):
    """Shares of neurons and of ranks that are silenced; zero outside training."""

    neurons: float
    ranks: float


@singledispatch
def make(algorithm: Any, key: str, layer: Layer) -> LycorisBaseModule:
    """The module of an algorithm for one layer, initialised from torch's generator; its update is nothing yet.

    DoRA takes its norms per input channel (`wd_on_output=False`), the one form that ComfyUI, Forge and A1111
    apply correctly.
    """
    raise TypeError(f"{type(algorithm).__name__} has no module")


@make.register
def _(algorithm: LoCon, key: str, layer: Layer) -> LycorisBaseModule:
    return _at_rest(LoConModule(key, layer, **_options(algorithm, layer)), algorithm)


@make.register
def _(algorithm: LoHa, key: str, layer: Layer) -> LycorisBaseModule:
    return _at_rest(LohaModule(key, layer, **_options(algorithm, layer)), algorithm)


@make.register
def _(algorithm: LoKr, key: str, layer: Layer) -> LycorisBaseModule:
    options: dict[str, Any] = {
        "factor": algorithm.factor,
        "decompose_both": algorithm.decompose_both,
        "full_matrix": algorithm.full_matrix,
    }
    module = LokrModule(key, layer, **options, **_options(algorithm, layer))
    if module.use_w1 and module.use_w2:
        module.scale = 1.0  # without a rank there is nothing that rs_lora could divide by
    return _at_rest(module, algorithm)


def _options(algorithm: Algorithm, layer: Layer) -> dict[str, Any]:
    dim, alpha = rank_of(algorithm, tuple(layer.weight.shape))
    return {
        "lora_dim": dim,
        "alpha": alpha,
        "use_tucker": algorithm.use_tucker,
        "use_scalar": algorithm.use_scalar,
        "weight_decompose": algorithm.dora,
        "wd_on_out": False,
        "rs_lora": algorithm.rs_lora,
    }


def _at_rest(module: LycorisBaseModule, algorithm: Algorithm) -> LycorisBaseModule:
    """LyCORIS adds an epsilon to the norm that DoRA's magnitude is divided by: with it in the magnitude too the
    quotient starts at exactly 1."""
    if algorithm.dora:
        module.dora_scale.data += torch.finfo(torch.float32).eps
    return module


@singledispatch
def update(module: Any) -> Tensor:
    """What a module adds to its layer's weight, in the weight's shape, scaled once.

    LyCORIS 4.1.3 applies LoHa's scale twice in its own forward, leaves LoHa's scalar out, and applies the scale
    of LoHa and LoKr twice when it merges; every other program applies it once.
    """
    raise TypeError(f"{type(module).__name__} has no update")


@update.register
def _(module: LoConModule) -> Tensor:
    unscaled: Tensor = module.make_weight()
    scaled: Tensor = unscaled * module.scale
    return scaled


@update.register(LohaModule)
@update.register(LokrModule)
def _(module: LohaModule | LokrModule) -> Tensor:
    plain: Tensor = module.get_weight(module.shape)
    scaled: Tensor = plain * module.scalar
    return scaled


def goes_beside(module: LycorisBaseModule) -> bool:
    """Whether a module's output is better computed beside its layer's than by rebuilding the weight."""
    if module.wd or isinstance(module, LohaModule):
        return False
    large = module.org_weight.numel() > _CHEAP_TO_REBUILD
    return isinstance(module, LoConModule) or large


@singledispatch
def beside(module: Any, x: Tensor, drop: Drop) -> Tensor:
    """What a module adds to its layer's output for the input `x`, in the precision of `x`."""
    raise TypeError(f"{type(module).__name__} only rebuilds its layer's weight")


@beside.register
def _(module: LoConModule, x: Tensor, drop: Drop) -> Tensor:
    down, up = module.lora_down.weight.to(x.dtype), module.lora_up.weight
    up = (up * (module.scalar * module.scale)).to(x.dtype)
    if drop.ranks:
        up = up * keep(len(down), drop.ranks, up).view(1, -1, *[1] * (up.dim() - 2))
    if not module.isconv:
        hidden = F.linear(F.linear(x, down), up)
    elif module.tucker:
        middle = module.lora_mid.weight.to(x.dtype)
        hidden = F.conv2d(F.conv2d(F.conv2d(x, down), middle, **module.kw_dict), up)
    else:
        hidden = F.conv2d(F.conv2d(x, down, **module.kw_dict), up)
    return F.dropout(hidden, drop.neurons) if drop.neurons else hidden


@beside.register
def _(module: LokrModule, x: Tensor, drop: Drop) -> Tensor:
    output: Tensor = module.bypass_forward_diff(x)
    if not drop.ranks:
        return output
    mask = keep(module.shape[0], drop.ranks, output)
    return output * (mask.view(-1, 1, 1) if output.dim() == len(module.shape) == 4 else mask)


def keep(count: int, rate: float, like: Tensor) -> Tensor:
    """Zeros (a share of `rate`) and ones [count], drawn on the CPU so that every device drops the same."""
    return (torch.rand(count) >= rate).to(like.device, like.dtype)


@singledispatch
def file_tensors(module: Any) -> dict[str, Tensor]:
    """What a file holds of one module, by the names that loaders know."""
    raise TypeError(f"{type(module).__name__} has no file tensors")


@file_tensors.register
def _(module: LoConModule) -> dict[str, Tensor]:
    return dict(module.custom_state_dict())


@file_tensors.register
def _(module: LohaModule) -> dict[str, Tensor]:
    return _with_scale_in(module, "hada_w1_a")


@file_tensors.register
def _(module: LokrModule) -> dict[str, Tensor]:
    return _with_scale_in(module, "lokr_w1" if module.use_w1 else "lokr_w1_a")


def _with_scale_in(module: LohaModule | LokrModule, factor: str) -> dict[str, Tensor]:
    """alpha / dim multiplied into one factor and alpha = dim stored: a loader that applies the scale once, twice
    (LyCORIS 4.1.3 itself) or never (any, where both LoKr factors are full) then makes the same update."""
    tensors = dict(module.custom_state_dict())
    tensors[factor] = tensors[factor] * module.scale
    tensors["alpha"] = torch.tensor(float(module.lora_dim))
    return tensors
