"""A frozen base whose large weights are stored in 8 bits and widened layer by layer when used."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

KIND = torch.float8_e4m3fn
"""Four bits of exponent, three of mantissa, no infinity, up to 448."""


def store(model: nn.Module) -> None:
    """Store the weight of every linear and convolution layer in 8 bits; norms, embeddings and biases are kept.

    Each output channel has its own power-of-two scale, so that its largest weight lies in the upper half of the
    8-bit range. The reference (`fp8_base`) casts without a scale, which flushes weights below 0.001 to zero. A
    power of two is exact in any precision: a weight has the same value whether it is widened to 16 or 32 bits, and
    moving the model between precisions changes no weight.

    Afterwards a layer's `weight` is computed on every read, and writes to it are lost: merge first.
    """
    for layer in [*model.modules()]:
        if type(layer) is nn.Linear:
            _narrow(layer)
            layer.__class__ = Linear
        elif type(layer) is nn.Conv2d:
            assert layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
            _narrow(layer)
            layer.__class__ = Conv2d


class Narrow(NamedTuple):
    """A weight in 8 bits: `bits` [out, ...] and `scales` [out], the bits of bfloat16 powers of two."""

    bits: Tensor
    scales: Tensor

    def widen(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, ...] in a precision."""
        scales = self.scales.view(torch.bfloat16).to(dtype)
        return self.bits.view(KIND).to(dtype) * scales.view(-1, *[1] * (self.bits.dim() - 1))


class Linear(nn.Linear):
    """A linear layer in 8 bits, computed in its input's precision, or in autocast's.

    LyCORIS identifies a layer by its class name, so this class has the same name as torch's.
    """

    bits: Tensor
    scales: Tensor
    precision: nn.Parameter

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight [out, in], in the model's current precision."""
        return Narrow(self.bits, self.scales).widen(self.precision.dtype)

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        dtype = _precision_of(input)
        bias = None if self.bias is None else self.bias.to(dtype)
        output: Tensor = _Linear.apply(input.to(dtype), Narrow(self.bits, self.scales), bias)
        return output


class Conv2d(nn.Conv2d):
    """A convolution in 8 bits, computed in its input's precision, or in autocast's."""

    bits: Tensor
    scales: Tensor
    precision: nn.Parameter

    @property
    def weight(self) -> Tensor:  # type: ignore[override]
        """The weight [out, in / groups, height, width], in the model's current precision."""
        return Narrow(self.bits, self.scales).widen(self.precision.dtype)

    def forward(self, input: Tensor) -> Tensor:
        """[B, in, H, W] -> [B, out, H', W']."""
        dtype = _precision_of(input)
        bias = None if self.bias is None else self.bias.to(dtype)
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        output: Tensor = _Convolution.apply(input.to(dtype), Narrow(self.bits, self.scales), bias, geometry)
        return output


class _Linear(Function):
    """The matrix product; saves the 8-bit weight for the backward pass, where torch would save the widened one."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Narrow, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(*weight)
        return F.linear(input, weight.widen(input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        return gradient @ Narrow(*ctx.saved_tensors).widen(gradient.dtype), None, None


class _Convolution(Function):
    """The convolution; saves the 8-bit weight for the backward pass."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Narrow, bias: Tensor | None, geometry: Any) -> Tensor:
        ctx.save_for_backward(*weight)
        ctx.size, ctx.geometry = input.shape, geometry
        return F.conv2d(input, weight.widen(input.dtype), bias, *geometry)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        weight = Narrow(*ctx.saved_tensors).widen(gradient.dtype)
        return conv2d_input(ctx.size, weight, gradient, *ctx.geometry), None, None, None


def _narrow(layer: nn.Linear | nn.Conv2d) -> None:
    """Replace the weight by integer buffers, which `Module.to(dtype)` does not convert.

    `precision` is an empty parameter that `to` does convert: it shows the layer's device and precision to callers.
    """
    weight = layer.weight.detach()
    exact = weight.float()
    largest = exact.flatten(1).abs().amax(1).clamp_min(torch.finfo(torch.float32).tiny)
    _, exponents = torch.frexp(largest / torch.finfo(KIND).max)
    scales = torch.ldexp(torch.ones_like(largest), exponents)
    narrow = (exact / scales.view(-1, *[1] * (exact.dim() - 1))).to(KIND)
    del layer.weight
    layer.register_buffer("bits", narrow.view(torch.uint8))
    layer.register_buffer("scales", scales.bfloat16().view(torch.int16))
    layer.precision = nn.Parameter(weight.new_empty(0), requires_grad=False)


def _precision_of(input: Tensor) -> torch.dtype:
    kind = input.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else input.dtype
