"""The network algorithms' options: one frozen dataclass each, with exactly what the algorithm has; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, Protocol

from annotated_types import Ge, Gt, Lt

from sweeplora.errors import UserError

WITHOUT_CONVOLUTIONS = ("attn-mlp", "attn-only")


class Algorithm(Protocol):
    """What every algorithm has; ranks and scales as LyCORIS defines them."""

    @property
    def dim(self) -> int: ...
    @property
    def alpha(self) -> float: ...
    @property
    def conv_dim(self) -> int | None: ...
    @property
    def conv_alpha(self) -> float | None: ...
    @property
    def preset(self) -> str: ...
    @property
    def text_encoders(self) -> bool: ...
    @property
    def rank_dropout(self) -> float: ...
    @property
    def module_dropout(self) -> float: ...
    @property
    def dora(self) -> bool: ...
    @property
    def use_tucker(self) -> bool: ...
    @property
    def use_scalar(self) -> bool: ...
    @property
    def rs_lora(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class LoCon:
    """LoRA on linear layers and convolutions (Yeh et al. 2023, arXiv:2309.14859): W + alpha/dim up @ down."""

    dim: Annotated[int, Ge(1)]
    alpha: Annotated[float, Gt(0)]
    conv_dim: Annotated[int, Ge(1)] | None
    conv_alpha: Annotated[float, Gt(0)] | None
    preset: Literal["full", "attn-mlp", "attn-only", "unet-only"]
    text_encoders: bool
    dropout: Annotated[float, Ge(0), Lt(1)]
    rank_dropout: Annotated[float, Ge(0), Lt(1)]
    module_dropout: Annotated[float, Ge(0), Lt(1)]
    dora: bool
    use_tucker: bool
    use_scalar: bool
    rs_lora: bool

    def __post_init__(self) -> None:
        _refuse_without_effect(self)
        if self.dora and self.dropout:
            raise UserError("network.dropout", self.dropout, "has no effect with network.dora; use 0")


@dataclass(frozen=True, kw_only=True)
class LoHa:
    """Hadamard product of two low-rank updates (Hyeon-Woo et al. 2021, arXiv:2108.06098)."""

    dim: Annotated[int, Ge(1)]
    alpha: Annotated[float, Gt(0)]
    conv_dim: Annotated[int, Ge(1)] | None
    conv_alpha: Annotated[float, Gt(0)] | None
    preset: Literal["full", "attn-mlp", "attn-only", "unet-only"]
    text_encoders: bool
    rank_dropout: Annotated[float, Ge(0), Lt(1)]
    module_dropout: Annotated[float, Ge(0), Lt(1)]
    dora: bool
    use_tucker: bool
    use_scalar: bool
    rs_lora: bool

    def __post_init__(self) -> None:
        _refuse_without_effect(self)


@dataclass(frozen=True, kw_only=True)
class LoKr:
    """Kronecker product of a small and a low-rank matrix (Yeh et al. 2023, arXiv:2309.14859)."""

    dim: Annotated[int, Ge(1)]
    alpha: Annotated[float, Gt(0)]
    conv_dim: Annotated[int, Ge(1)] | None
    conv_alpha: Annotated[float, Gt(0)] | None
    factor: Annotated[int, Ge(-1)]
    decompose_both: bool
    full_matrix: bool
    preset: Literal["full", "attn-mlp", "attn-only", "unet-only"]
    text_encoders: bool
    rank_dropout: Annotated[float, Ge(0), Lt(1)]
    module_dropout: Annotated[float, Ge(0), Lt(1)]
    dora: bool
    use_tucker: bool
    use_scalar: bool
    rs_lora: bool

    def __post_init__(self) -> None:
        _refuse_without_effect(self)
        if self.factor == 0:
            raise UserError("network.factor", 0, "give the small matrix's size, or -1 for as square as it goes")
        if not self.full_matrix:
            return
        for key in ("decompose_both", "use_tucker", "rs_lora", "conv_dim", "conv_alpha"):
            value = getattr(self, key)
            if value:
                mend = "has no effect with network.full_matrix, where nothing has a rank; leave one of the two out"
                raise UserError(f"network.{key}", value, mend)


def rank_of(algorithm: Algorithm, shape: tuple[int, ...]) -> tuple[int, float]:
    """Rank and alpha for a layer with this weight shape: the convolution's own where its kernel is above 1x1."""
    if any(side > 1 for side in shape[2:]):
        return algorithm.conv_dim or algorithm.dim, algorithm.conv_alpha or algorithm.alpha
    return algorithm.dim, algorithm.alpha


def _refuse_without_effect(algorithm: Algorithm) -> None:
    """Raise UserError for the first option that these others make idle."""
    if algorithm.text_encoders and algorithm.preset == "unet-only":
        mend = "has no effect with network.preset=unet-only; use another preset, or false"
        raise UserError("network.text_encoders", True, mend)
    if algorithm.preset not in WITHOUT_CONVOLUTIONS:
        return
    idle = {
        "conv_dim": algorithm.conv_dim,
        "conv_alpha": algorithm.conv_alpha,
        "use_tucker": algorithm.use_tucker,
    }
    for key, value in idle.items():
        if value:
            mend = f"network.preset={algorithm.preset} has no convolutions above 1x1; use preset full, or leave it out"
            raise UserError(f"network.{key}", value, mend)
