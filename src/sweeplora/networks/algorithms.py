"""The network algorithms: one frozen dataclass each, with an algorithm's options and properties; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Gt, Le, Lt
from hydra.utils import get_object

from sweeplora.errors import UserError
from sweeplora.networks.file_kind import FileKind
from sweeplora.networks.refusals import (
    OF_BLOCKS,
    OF_KERNELS,
    check_boft,
    refuse,
    refuse_beside,
    refuse_dora,
    refuse_places,
    refuse_rank_dropout,
    refuse_ranks,
)

OfUnet = Literal["unet-only", "unet-transformer-only", "unet-convblock-only"]
Preset = Literal["full", "full-lin", "blocks", "attn-mlp", "attn-only", OfUnet]
Share = Annotated[float, Ge(0), Lt(1)]
Dim = Annotated[int, Ge(1), Le(1_000_000)]
Alpha = Annotated[float, Gt(0)]
BlockDim = Annotated[int, Ge(0), Le(1_000_000)]
BlockAlpha = Annotated[float, Ge(0)]


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Options of every algorithm: where adapters go, and their initial weights.

    The class attributes describe the algorithm independently of its options:

    `ADAPTER`: dotted name of the class that implements it on one layer (a subclass of
    `adapters.adapter.WeightAdapter`), imported when a network is attached. `FILE`: the format of its files.
    `OTHER_FILES`: formats of other programs that cannot be read here. `LYCORIS_NAME`: its `algo` in the
    metadata. `HAS_B`: it has a B factor, whose rate LoRA+ raises. `TAKES_NORM_LIMIT`: train.max_weight_norm
    limits its updates. `RANK_IN_FILE`: the rank in its file is this multiple of `dim`.
    """

    ADAPTER: ClassVar[str] = ""
    FILE: ClassVar[FileKind]
    OTHER_FILES: ClassVar[tuple[FileKind, ...]] = ()
    LYCORIS_NAME: ClassVar[str] = ""
    HAS_B: ClassVar[bool] = False
    TAKES_NORM_LIMIT: ClassVar[bool] = False
    RANK_IN_FILE: ClassVar[int] = 1

    preset: Preset
    unet: bool
    text_encoders: bool
    train_norm: bool
    weights: str | None
    dim_from_weights: bool
    module_dropout: Share

    def __post_init__(self) -> None:
        refuse_places(self)

    @classmethod
    def check_layers(cls, network: Mapping[str, Any], shapes: Iterable[tuple[int, ...]]) -> None:
        """Raise UserError if a selected layer's weight shape is incompatible with the options in the config group."""

    @classmethod
    def precision_notices(cls, save_precision: str) -> list[str]:
        """What this algorithm's files lose in a precision (fp32, fp16 or bf16), one line each."""
        return []


def algorithm_of(target: str) -> type[Algorithm]:
    """The class that `network._target_` names; raises UserError if it is not an algorithm."""
    found = get_object(target)
    if not (isinstance(found, type) and issubclass(found, Algorithm) and found.ADAPTER):
        mend = (
            "is no network algorithm; choose one of conf/network, or subclass sweeplora.networks.algorithms.Algorithm"
        )
        raise UserError("network._target_", target, mend)
    return found


def check_norm_limit(target: str, maximum: float) -> None:
    """Raise UserError if train.max_weight_norm (0: off) would have no effect on `network._target_`."""
    algorithm = algorithm_of(target)
    if maximum and not algorithm.TAKES_NORM_LIMIT:
        mend = f"has no effect on {algorithm.__name__}, whose updates have no norm that LyCORIS limits; use 0"
        raise UserError("train.max_weight_norm", maximum, mend)


@dataclass(frozen=True, kw_only=True)
class Ranked(Algorithm):
    """An algorithm whose size is set by a rank or a block size."""

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
    """Options of the algorithms whose weight can be decomposed into direction and magnitude (DoRA)."""

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

    ADAPTER = "sweeplora.networks.adapters.lowrank.LoConAdapter"
    FILE = FileKind(
        name="locon",
        adapter=ADAPTER,
        marks=("lora_up.weight", "lora_down.weight"),
        forms=(("lora_up.weight", "lora_down.weight"),),
        products=(("lora_up.weight", "lora_down.weight"),),
        rank_sides=("lora_down.weight",),
        scaled=("lora_up.weight",),
        optional=("lora_mid.weight",),
    )
    LYCORIS_NAME = "locon"
    HAS_B = True
    TAKES_NORM_LIMIT = True

    dropout: Share

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dora and self.dropout:
            raise UserError("network.dropout", self.dropout, "has no effect with network.dora; use 0")
        refuse_beside(self, "dropout")


@dataclass(frozen=True, kw_only=True)
class LoHa(Decomposed):
    """Hadamard product of two low-rank updates (Hyeon-Woo et al. 2021, arXiv:2108.06098)."""

    ADAPTER = "sweeplora.networks.adapters.products.LoHaAdapter"
    FILE = FileKind(
        name="loha",
        adapter=ADAPTER,
        marks=("hada_w1_a", "hada_w2_a"),
        forms=(("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"),),
        rank_sides=("hada_w1_b",),
        scaled=("hada_w1_a",),
        optional=("hada_t1", "hada_t2"),
    )
    LYCORIS_NAME = "loha"
    TAKES_NORM_LIMIT = True


@dataclass(frozen=True, kw_only=True)
class LoKr(Decomposed):
    """Kronecker product of a small and a low-rank matrix (Yeh et al. 2023, arXiv:2309.14859)."""

    ADAPTER = "sweeplora.networks.adapters.products.LoKrAdapter"
    FILE = FileKind(
        name="lokr",
        adapter=ADAPTER,
        marks=("lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a"),
        forms=(
            ("lokr_w1", "lokr_w2"),
            ("lokr_w1", "lokr_w2_a", "lokr_w2_b"),
            ("lokr_w1_a", "lokr_w1_b", "lokr_w2"),
            ("lokr_w1_a", "lokr_w1_b", "lokr_w2_a", "lokr_w2_b"),
        ),
        products=(("lokr_w1_a", "lokr_w1_b"),),
        rank_sides=("lokr_w2_b", "lokr_w1_b"),
        scaled=("lokr_w1", "lokr_w1_a"),
        optional=("lokr_t1", "lokr_t2"),
    )
    LYCORIS_NAME = "lokr"
    TAKES_NORM_LIMIT = True

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


@dataclass(frozen=True, kw_only=True)
class DyLoRA(Scaled):
    """A LoRA that works at every rank in steps of block_size (Valipour et al. 2022, arXiv:2210.07558)."""

    ADAPTER = "sweeplora.networks.adapters.lowrank.DyLoRAAdapter"
    FILE = LoCon.FILE
    LYCORIS_NAME = "dylora"
    HAS_B = True

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


@dataclass(frozen=True, kw_only=True)
class GLoRA(Scaled):
    """W A + B with both low-rank (Chavan et al. 2023, arXiv:2306.07967)."""

    ADAPTER = "sweeplora.networks.adapters.glora.GLoRAAdapter"
    FILE = FileKind(
        name="glora",
        adapter=ADAPTER,
        marks=("a1.weight", "b1.weight"),
        forms=(("a1.weight", "a2.weight", "b1.weight", "b2.weight"),),
        products=(("a1.weight", "a2.weight"), ("b1.weight", "b2.weight")),
        rank_sides=("a2.weight",),
        scaled=("a1.weight", "b1.weight"),
        exchanged=(("a1.weight", "a2.weight"), ("b1.weight", "b2.weight")),
    )
    LYCORIS_NAME = "glora"

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


@dataclass(frozen=True, kw_only=True)
class TLoRA(Scaled):
    """LoRA whose rank shrinks as the noise grows, from singular vectors (Soboleva et al. 2025, arXiv:2507.05964)."""

    ADAPTER = "sweeplora.networks.adapters.timed.TLoRAAdapter"
    FILE = LoCon.FILE
    OTHER_FILES = (
        FileKind(
            name="tlora",
            adapter=ADAPTER,
            marks=("lambda_layer",),
            forms=(("lambda_layer",),),
            optional=("q_layer.weight", "p_layer.weight", "base_q", "base_p", "base_lambda"),
            mergeable=False,
        ),
    )
    LYCORIS_NAME = "tlora"
    HAS_B = True
    RANK_IN_FILE = 2

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

    @classmethod
    def precision_notices(cls, save_precision: str) -> list[str]:
        if save_precision == "fp32":
            return []
        loss = "a T-LoRA's file holds the difference of two large parts and loses 6 to 28 % of a small update"
        return [f"train.save_precision={save_precision}: {loss}; fp32 keeps it"]


@dataclass(frozen=True, kw_only=True)
class Full(Algorithm):
    """The full difference of weight and bias, without a rank."""

    ADAPTER = "sweeplora.networks.adapters.rankless.FullAdapter"
    FILE = FileKind(name="full", adapter=ADAPTER, marks=("diff",), forms=(("diff",),), bias="diff_b")
    LYCORIS_NAME = "full"

    rank_dropout: Share
    rank_dropout_scale: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)


@dataclass(frozen=True, kw_only=True)
class IA3(Algorithm):
    """One factor per output channel, or per input channel (Liu et al. 2022, arXiv:2205.05638)."""

    ADAPTER = "sweeplora.networks.adapters.rankless.IA3Adapter"
    FILE = FileKind(name="ia3", adapter=ADAPTER, marks=("on_input",), forms=(("weight", "on_input"),), mergeable=False)
    LYCORIS_NAME = "ia3"

    train_on_input: bool
    bypass_mode: bool | None


@dataclass(frozen=True, kw_only=True)
class DiagOFT(Ranked):
    """Rotations of blocks of output channels (Qiu et al. 2023, arXiv:2306.07280); dim is the block size."""

    ADAPTER = "sweeplora.networks.adapters.rotations.DiagOFTAdapter"
    FILE = FileKind(
        name="oft",
        adapter=ADAPTER,
        marks=("oft_blocks",),
        forms=(("oft_blocks",),),
        num_dims=3,
        optional=("rescale",),
        mergeable=False,
    )
    LYCORIS_NAME = "diag-oft"
    TAKES_NORM_LIMIT = True

    constraint: Annotated[float, Ge(0)]
    rescaled: bool
    rank_dropout: Share
    rank_dropout_scale: bool
    bypass_mode: bool | None

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_rank_dropout(self)


@dataclass(frozen=True, kw_only=True)
class BOFT(Ranked):
    """Rotations in butterfly stages (Liu et al. 2023, arXiv:2311.06243); dim is the largest block size."""

    ADAPTER = "sweeplora.networks.adapters.rotations.BOFTAdapter"
    FILE = FileKind(
        name="boft",
        adapter=ADAPTER,
        marks=("oft_blocks",),
        forms=(("oft_blocks",),),
        num_dims=4,
        optional=("rescale",),
        mergeable=False,
    )
    LYCORIS_NAME = "boft"
    TAKES_NORM_LIMIT = True

    constraint: Annotated[float, Ge(0)]
    rescaled: bool
    bypass_mode: bool | None

    @classmethod
    def check_layers(cls, network: Mapping[str, Any], shapes: Iterable[tuple[int, ...]]) -> None:
        check_boft(network["dim"], shapes)
