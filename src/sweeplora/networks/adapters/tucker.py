"""Multiplies out convolutions in Tucker form for files, as not every program does so on loading, and refactors them."""

from __future__ import annotations

import torch
from torch import Tensor


def whole_down(middle: Tensor, down: Tensor) -> Tensor:
    """LoCon's first convolution [r, in, h, w] from middle [r, r, h, w] and the preceding down [r, in, 1, 1]."""
    return torch.einsum("abhw,bi->aihw", middle, down.flatten(1))


def factored_down(whole: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and down whose `whole_down` is `whole` [r, in, h, w]; exact if its input side has at most rank r."""
    rank, inputs, *sides = whole.shape
    basis = _basis(whole.transpose(0, 1), rank)
    middle = torch.einsum("aihw,ib->abhw", whole, basis)
    return middle, basis.T.reshape(rank, inputs, *[1] * len(sides))


def whole_block(middle: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """LoKr's block w2 [out, in, h, w] from middle t2 [r, r, h, w], w2_a [r, out] and w2_b [r, in]."""
    return torch.einsum("abhw,ao,bi->oihw", middle, left, right)


def factored_block(whole: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """t2, w2_a and w2_b whose `whole_block` is `whole`; exact if both its sides have at most this rank."""
    left, right = _basis(whole, rank), _basis(whole.transpose(0, 1), rank)
    return torch.einsum("oihw,oa,ib->abhw", whole, left, right), left.T, right.T


def _basis(tensor: Tensor, rank: int) -> Tensor:
    """An orthonormal basis [n, rank] of the first dimension, largest first; padded with zeros if n < rank."""
    vectors, _, _ = torch.linalg.svd(tensor.flatten(1), full_matrices=False)
    vectors = vectors[:, :rank]
    return torch.nn.functional.pad(vectors, (0, rank - vectors.shape[1]))
