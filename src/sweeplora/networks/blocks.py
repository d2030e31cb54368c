"""Rank and alpha of every layer: the network's, or those of the layer's U-Net block; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from sweeplora.errors import UserError
from sweeplora.models.layout import Layout

Number = TypeVar("Number", int, float)

BLOCK_OPTIONS = ("block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
"""Options that hold one number per U-Net block."""


class Rank(NamedTuple):
    """Rank and alpha of one layer's adapter; the update is scaled by alpha / dim."""

    dim: int
    alpha: float


class Ranked(Protocol):
    """An algorithm's rank options: for all layers, for convolutions above 1x1, and per block."""

    @property
    def dim(self) -> int: ...
    @property
    def alpha(self) -> float: ...
    @property
    def conv_dim(self) -> int | None: ...
    @property
    def conv_alpha(self) -> float | None: ...
    @property
    def block_dims(self) -> Sequence[int] | None: ...
    @property
    def block_alphas(self) -> Sequence[float] | None: ...
    @property
    def conv_block_dims(self) -> Sequence[int] | None: ...
    @property
    def conv_block_alphas(self) -> Sequence[float] | None: ...


class Ranks(NamedTuple):
    """The options of `Ranked`, read from a config."""

    dim: int
    alpha: float
    conv_dim: int | None
    conv_alpha: float | None
    block_dims: Sequence[int] | None
    block_alphas: Sequence[float] | None
    conv_block_dims: Sequence[int] | None
    conv_block_alphas: Sequence[float] | None


def ranks_in(network: Mapping[str, Any]) -> Ranks | None:
    """The rank options of a network's config; None for an algorithm without ranks.

    Rotations have a dim but no alpha; their alpha is 0, which means the rank.
    """
    if "block_dims" not in network:
        return None
    values = {option: network[option] for option in Ranks._fields if option in network}
    return Ranks(**{**dict.fromkeys(Ranks._fields), "alpha": 0.0, **values})


def ranks_of(algorithm: Ranked, layout: Layout, name: str, shape: Sequence[int]) -> Rank | None:
    """Rank and alpha of a U-Net layer, by diffusers' module name and weight shape; None: no adapter there.

    The block's value takes precedence over the network's. A convolution above 1x1 uses conv_block_dims, else
    conv_dim, else the rank of a linear layer in its block; the same goes for alphas. A layer outside the blocks
    (SD 1.5's time embedding and output) uses the network's values. Rank 0 skips a layer, alpha 0 means the rank, as
    in sd-scripts' networks.lora. An unset conv_dim means dim, as in LyCORIS; in sd-scripts it means no convolutions.
    """
    block = layout.block_of(name)
    dim = _of(algorithm.block_dims, block, algorithm.dim)
    alpha = _of(algorithm.block_alphas, block, algorithm.alpha)
    if any(side > 1 for side in shape[2:]):
        dim = _of(algorithm.conv_block_dims, block, dim if algorithm.conv_dim is None else algorithm.conv_dim)
        alpha = _of(algorithm.conv_block_alphas, block, alpha if algorithm.conv_alpha is None else algorithm.conv_alpha)
    return Rank(dim, float(alpha or dim)) if dim else None


def encoder_rank(algorithm: Ranked) -> Rank:
    """Rank and alpha of every layer of the text encoders, which have no blocks: the network's."""
    return Rank(algorithm.dim, float(algorithm.alpha or algorithm.dim))


def check_counts(network: Mapping[str, Any], layout: Layout) -> None:
    """Raise UserError if the length of a per-block list differs from the family's number of blocks.

    `network`: the config group; an algorithm without ranks has none of these options.
    """
    for option in BLOCK_OPTIONS:
        numbers = network.get(option)
        if numbers is not None and len(numbers) != layout.num_blocks:
            mend = (
                f"{len(numbers)} numbers, but this model's U-Net ({layout.name}) has {layout.num_blocks} blocks: "
                f"{layout.blocks}; give {layout.num_blocks}"
            )
            raise UserError(f"network.{option}", ",".join(str(number) for number in numbers), mend)


def _of(numbers: Sequence[Number] | None, block: int | None, otherwise: Number) -> Number:
    return otherwise if numbers is None or block is None else numbers[block]
