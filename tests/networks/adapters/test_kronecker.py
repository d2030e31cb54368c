"""A Kronecker product in half precision, against PyTorch's own in float64."""

from __future__ import annotations

import pytest
import torch

from sweeplora.networks.adapters.kronecker import kronecker_product


@pytest.mark.parametrize("window", [(), (3, 3)])
def test_product_and_gradients_are_those_of_the_kronecker_product(window: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(3, 5, generator=generator).requires_grad_()
    right = torch.randn(4, 6, *window, generator=generator).requires_grad_()
    wide = [one.detach().double().requires_grad_() for one in (left, right)]
    wanted = torch.kron(wide[0].view(3, 5, *[1] * len(window)), wide[1])
    outer = torch.randn(wanted.shape, generator=generator).bfloat16()
    found = kronecker_product(left, right, torch.bfloat16)
    assert torch.equal(found, wanted.float().bfloat16())
    ours = torch.autograd.grad(found, (left, right), outer)
    theirs = torch.autograd.grad(wanted, wide, outer.double())
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-5)


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(1)
    sides = ((2, 3), (3, 2))
    inputs = [torch.randn(side, generator=generator, dtype=torch.float64).requires_grad_() for side in sides]
    assert torch.autograd.gradcheck(lambda left, right: kronecker_product(left, right, torch.float64), inputs)
