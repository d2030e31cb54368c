"""DoRA by input channel beside a frozen layer, in half precision: three large products a step, and none for its norms.

For a layer W, an update U D and c = magnitude / norm of each input channel of W + U D, the output is
(W + U D) diag(c) x = W x + W ((c - 1) x) + U D (c x). The middle term is a product of its own: in half precision,
c x would round small changes of c away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from sweeplora.networks.adapters.frozen import Frozen, Geometry, Layer

_EPS = torch.finfo(torch.float32).eps


class LowRank(NamedTuple):
    """An update `up` [out, r] @ `down` [r, in x window] in float32."""

    up: Tensor
    down: Tensor


def decomposed_output(layer: Layer, x: Tensor, update: LowRank, magnitude: Tensor, norms: Tensor) -> Tensor:
    """The output of a layer whose changed weight has the norms `magnitude` [in]; `norms` [in]: those of its own weight.

    In the precision of x; the rest is float32. Call it outside autocast.
    """
    frozen = Frozen.of(layer)
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    rows = x if frozen.geometry is not None else x.reshape(-1, x.shape[-1])
    output: Tensor = _Decomposed.apply(rows, frozen.geometry, *update, magnitude, norms, bias, *frozen.stored)
    return output if frozen.geometry is not None else output.view(*x.shape[:-1], -1)


class _Decomposed(Function):
    """(x, geometry, up, down, magnitude, norms, bias, *stored weight) -> output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, geometry: Geometry | None, *tensors: Any) -> Tensor:
        up, down, magnitude, norms, bias, *stored = tensors
        weight = Frozen(tuple(stored), geometry).weight(x.dtype)
        crossed, changed = _changed_norms(weight, LowRank(up, down), norms)
        scales = magnitude / (changed + _EPS)
        weight, up_matrix = weight.to(x.dtype), up.to(x.dtype)
        kernel = (down * _windows(scales, down)).to(x.dtype).view(-1, *weight.shape[1:])
        excess = _scaled(x, scales - 1)
        if geometry is None:
            hidden = x @ kernel.t()
            output = F.linear(x, weight, bias).addmm_(excess, weight.t()).addmm_(hidden, up_matrix.t())
        else:
            hidden = F.conv2d(x, kernel, None, *geometry)
            output = F.conv2d(x, weight, bias, *geometry).add_(F.conv2d(excess, weight, None, *geometry))
            output.add_(F.conv2d(hidden, up_matrix[:, :, None, None]))
        ctx.save_for_backward(x, up, down, crossed, changed, scales, kernel, hidden, *stored)
        ctx.geometry = geometry
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, up, down, crossed, changed, scales, kernel, hidden, *stored = ctx.saved_tensors
        frozen = Frozen(tuple(stored), ctx.geometry)
        weight, up_matrix = frozen.weight(x.dtype), up.to(x.dtype)
        if ctx.geometry is None:
            for_hidden = gradient @ up_matrix
            for_up = gradient.t() @ hidden
        else:
            for_hidden = F.conv2d(gradient, up_matrix.t()[:, :, None, None])
            for_up = gradient.movedim(1, 0).flatten(1) @ hidden.movedim(1, 0).flatten(1).t()
        low_rank, for_kernel = frozen.gradients(for_hidden, x, kernel, (ctx.needs_input_grad[0], True))
        through, _ = frozen.gradients(gradient, x, weight.to(x.dtype), (True, False))
        assert through is not None and for_kernel is not None
        wide, for_kernel = through.float(), for_kernel.float().flatten(1)
        axes = [0] if ctx.geometry is None else [0, 2, 3]
        for_scales = (wide * x).sum(axes) + (for_kernel * down).sum(0).view(len(scales), -1).sum(1)
        # The rest is the norms' part: a norm's derivative is the changed weight over the norm.
        factors = -for_scales * scales / ((changed + _EPS) * changed.clamp(min=_EPS))
        pulled = down * _windows(factors, down)
        return (
            None if low_rank is None else (_scaled(wide, scales) + low_rank).to(x.dtype),
            None,
            for_up.float() + weight.float().flatten(1) @ pulled.t() + up @ (down @ pulled.t()),
            for_kernel * _windows(scales, down) + crossed * _windows(factors, down),
            for_scales / (changed + _EPS),
            *[None] * (2 + len(stored)),
        )


def _changed_norms(weight: Tensor, update: LowRank, norms: Tensor) -> tuple[Tensor, Tensor]:
    """up^T (W + up down) [r, in x window], and the norms [in] of the input channels of W + up down, from those of W.

    The square of the sum is expanded, so that the sum itself, of the weight's size, is never made.
    """
    up, down = update
    alone = up.t() @ weight.float().flatten(1)
    crossed = alone + (up.t() @ up) @ down
    added = ((alone + crossed) * down).sum(0).view(len(norms), -1).sum(1)
    return crossed, (norms.square() + added).clamp(min=0).sqrt()


def _windows(values: Tensor, down: Tensor) -> Tensor:
    """One value per input channel, repeated for the places of the window: [in x window]."""
    return values.repeat_interleave(down.shape[1] // len(values))


def _scaled(x: Tensor, factors: Tensor) -> Tensor:
    """x [positions, in] or [B, in, H, W] times float32 factors [in], rounded once to the precision of x."""
    return (x * (factors if x.dim() == 2 else factors.view(-1, 1, 1))).to(x.dtype)
