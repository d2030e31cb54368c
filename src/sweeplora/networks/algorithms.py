"""The network algorithms' options: one frozen dataclass each, with exactly what the algorithm has; no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from sweeplora.errors import UserError
from sweeplora.networks.refusals import (
    OF_BLOCKS,
    OF_KERNELS,
    refuse,
    refuse_beside,
    refuse_dora,
    refuse_places,
    refuse_rank_dropout,
    refuse_ranks,
)

if TYPE_CHECKING:
    from sweeplora.networks.adapters.adapter import Adapter

OfUnet = Literal["unet-only", "unet-transformer-only", "unet-convblock-only"]
Preset = Literal["full", "full-lin", "blocks", "attn-mlp", "attn-only", OfUnet]
Share = Annotated[float, Ge(0), Lt(1)]
Dim = Annotated[int, Ge(1)]
Alpha = Annotated[float, Gt(0)]
BlockDim = Annotated[int, Ge(0)]
BlockAlpha = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What every algorithm has: where adapters go, and what they start from."""

    preset: Preset
    unet: bool
    text_encoders: bool
    train_norm: bool
    weights: str | None
    dim_from_weights: bool
    module_dropout: Share

    def __post_init__(self) -> None:
        refuse_places(self)

    def adapter(self) -> Callable[..., Adapter[Any]]:
        """What carries this algorithm out on one layer: (algorithm, key, layer, rank) -> adapter; imports torch."""
        raise TypeError(f"{type(self).__name__} is no algorithm by itself")


@dataclass(frozen=True, kw_only=True)
class Ranked(Algorithm):
    """An algorithm whose size follows from a rank, or from the size of a block."""

    dim: Dim
    conv_dim: Dim | None
    block_dims: list[BlockDim] | None
    conv_block_dims: list[BlockDim] | None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_ranks(self)


@dataclass(frozen=True, kw_only=True)
class Scaled(Ranked):
    """An algorithm whose update is scaled by alpha / dim."""

    alpha: Alpha
    conv_alpha: Alpha | None
    block_alphas: list[BlockAlpha] | None
    conv_block_alphas: list[BlockAlpha] | None


@dataclass(frozen=True, kw_only=True)
class Decomposed(Scaled):
    """What the algorithms have besides whose weight can be split into direction and magnitude (DoRA)."""

    rank_dropout: Share
    rank_dropout_scale: bool
    dora: bool
    wd_on_output: bool
    use_tucker: bool
    use_scalar: bool
    rs_lora: bool
    bypass_mode: bool | None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)
        refuse_dora(self)


@dataclass(frozen=True, kw_only=True)
class LoCon(Decomposed):
    """LoRA on linear layers and convolutions (Yeh et al. 2023, arXiv:2309.14859): W + alpha/dim up @ down."""

    dropout: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dora and self.dropout:
            raise UserError("network.dropout", self.dropout, "has no effect with network.dora; use 0")
        refuse_beside(self, "dropout")

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.lowrank import LoConAdapter

        return LoConAdapter


@dataclass(frozen=True, kw_only=True)
class LoHa(Decomposed):
    """Hadamard product of two low-rank updates (Hyeon-Woo et al. 2021, arXiv:2108.06098)."""

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.products import LoHaAdapter

        return LoHaAdapter


@dataclass(frozen=True, kw_only=True)
class LoKr(Decomposed):
    """Kronecker product of a small and a low-rank matrix (Yeh et al. 2023, arXiv:2309.14859)."""

    factor: Annotated[int, Ge(-1)]
    decompose_both: bool
    full_matrix: bool
    unbalanced_factorization: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor == 0:
            raise UserError("network.factor", 0, "give the small matrix's size, or -1 for as square as it goes")
        if self.full_matrix:
            mend = "has no effect with network.full_matrix, where nothing has a rank; leave one of the two out"
            refuse(self, ("decompose_both", "rs_lora", "dim_from_weights", *OF_BLOCKS, *OF_KERNELS), mend)

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.products import LoKrAdapter

        return LoKrAdapter


@dataclass(frozen=True, kw_only=True)
class DyLoRA(Scaled):
    """A LoRA that is good at every rank in steps of block_size (Valipour et al. 2022, arXiv:2210.07558)."""

    block_size: Annotated[int, Ge(1)]
    bypass_mode: bool | None

    def __post_init__(self) -> None:
        super().__post_init__()
        ranks: dict[str, list[int]] = {"dim": [self.dim], "conv_dim": [self.conv_dim or 0]}
        ranks |= {"block_dims": self.block_dims or [], "conv_block_dims": self.conv_block_dims or []}
        for key, values in ranks.items():
            if any(value % self.block_size for value in values):
                mend = f"must be a multiple of network.block_size={self.block_size}"
                raise UserError(f"network.{key}", getattr(self, key), mend)

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.lowrank import DyLoRAAdapter

        return DyLoRAAdapter


@dataclass(frozen=True, kw_only=True)
class GLoRA(Scaled):
    """W A + B with both low-rank (Chavan et al. 2023, arXiv:2306.07967)."""

    dropout: Share
    rank_dropout: Share
    rank_dropout_scale: bool
    use_scalar: bool
    rs_lora: bool
    bypass_mode: bool | None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)
        refuse_beside(self, "dropout", "rank_dropout")

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.lowrank import GLoRAAdapter

        return GLoRAAdapter


@dataclass(frozen=True, kw_only=True)
class TLoRA(Scaled):
    """LoRA whose rank shrinks as the noise grows, from singular vectors (Soboleva et al. 2025, arXiv:2507.05964)."""

    sig_type: Literal["principal", "middle", "last"]
    use_data_init: bool
    min_rank: Annotated[int, Ge(1)]
    rank_exponent: Annotated[float, Gt(0)]
    dropout: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights:
            mend = "a file of T-LoRA holds a plain LoRA, from which its parts cannot be told; use network=locon"
            raise UserError("network.weights", self.weights, mend)
        if self.min_rank > self.dim:
            raise UserError("network.min_rank", self.min_rank, f"must not be above network.dim={self.dim}")

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.timed import TLoRAAdapter

        return TLoRAAdapter


@dataclass(frozen=True, kw_only=True)
class Full(Algorithm):
    """The whole difference of weight and bias, without a rank."""

    rank_dropout: Share
    rank_dropout_scale: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.rankless import FullAdapter

        return FullAdapter


@dataclass(frozen=True, kw_only=True)
class IA3(Algorithm):
    """One factor for each output channel, or each input channel (Liu et al. 2022, arXiv:2205.05638)."""

    train_on_input: bool
    bypass_mode: bool | None

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.rankless import IA3Adapter

        return IA3Adapter


@dataclass(frozen=True, kw_only=True)
class DiagOFT(Ranked):
    """Rotations of blocks of output channels (Qiu et al. 2023, arXiv:2306.07280); dim is the blocks' size."""

    constraint: Annotated[float, Ge(0)]
    rescaled: bool
    rank_dropout: Share
    rank_dropout_scale: bool
    bypass_mode: bool | None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.rotations import DiagOFTAdapter

        return DiagOFTAdapter


@dataclass(frozen=True, kw_only=True)
class BOFT(Ranked):
    """Rotations in butterfly stages (Liu et al. 2023, arXiv:2311.06243); dim is the largest size of a block."""

    constraint: Annotated[float, Ge(0)]
    rescaled: bool
    bypass_mode: bool | None

    def adapter(self) -> Callable[..., Adapter[Any]]:
        from sweeplora.networks.adapters.rotations import BOFTAdapter

        return BOFTAdapter
