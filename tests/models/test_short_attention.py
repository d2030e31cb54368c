"""Attention over few tokens in half precision: as close to float64 as torch's kernel, and used where it is faster."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from sweeplora.models.attention_processors import Attend, by_kernel
from sweeplora.models.short_attention import is_short, short_attention

SHAPES = {"own": ((2, 3, 64, 64), (2, 3, 64, 64)), "captions": ((2, 3, 100, 40), (2, 3, 77, 40))}


def drawn(shape: str, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys and values as a layer makes them: [B, T, heads, D] seen as [B, heads, T, D]."""
    generator = torch.Generator().manual_seed(0)
    queries, keys = SHAPES[shape]
    sides = [(one[0], one[2], one[1], one[3]) for one in (queries, keys, keys)]
    made = [torch.randn(side, generator=generator).mul(2).transpose(1, 2) for side in sides]
    return [one.to(dtype).requires_grad_() for one in made]


def gradients(attend: Attend, inputs: list[Tensor]) -> list[Tensor]:
    output = attend(*inputs)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    return [output.detach(), *torch.autograd.grad(output, inputs, weights.to(output.dtype))]


def errors(found: list[Tensor], wanted: list[Tensor]) -> list[float]:
    return [float((one.double() - other).norm() / other.norm()) for one, other in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_no_further_from_float64_than_those_of_the_kernel(shape: str, dtype: torch.dtype) -> None:
    inputs = drawn(shape, dtype)
    wanted = gradients(scaled_dot_product_attention, [one.detach().double().requires_grad_() for one in inputs])
    ours, kernel = (gradients(attend, inputs) for attend in (short_attention, scaled_dot_product_attention))
    assert torch.equal(ours[0], kernel[0])
    for error, of_kernel in zip(errors(ours, wanted), errors(kernel, wanted), strict=True):
        assert error <= 1.05 * of_kernel


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_give_the_same_gradients(reentrant: bool) -> None:
    inputs = drawn("own", torch.bfloat16)
    plain = gradients(short_attention, inputs)
    output = checkpoint(short_attention, *inputs, use_reentrant=reentrant)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    torch.autograd.backward(output, weights)
    for one, before in zip(inputs, plain[1:], strict=True):
        assert one.grad is not None and torch.equal(one.grad, before)


def test_it_serves_only_where_it_is_the_faster() -> None:
    query, key, _ = drawn("own", torch.bfloat16)
    assert is_short(query, key)
    assert not is_short(query.float(), key.float())
    assert not is_short(query.detach(), key.detach())
    with torch.no_grad():
        assert not is_short(query, key)
    long = query.new_empty(1, 1, 1024, 64, requires_grad=True)
    assert not is_short(long, long)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_and_float32_gradients_are_the_kernels_to_the_last_bit(dtype: torch.dtype) -> None:
    inputs = drawn("captions", dtype)
    ours, kernel = (gradients(attend, inputs) for attend in (by_kernel, scaled_dot_product_attention))
    assert torch.equal(ours[0], kernel[0])
    same = [torch.equal(one, other) for one, other in zip(ours[1:], kernel[1:], strict=True)]
    assert all(same) == (dtype == torch.float32)
