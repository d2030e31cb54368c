"""Learning rates for the parts of a network, and the parameter groups that result from them; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple, Protocol

from annotated_types import Ge, MinLen

from sweeplora.errors import UserError

Rate = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Rates:
    """Learning rates of parts that differ from the optimizer's; None: the optimizer's rate.

    unet, text_encoder: the part's own rate; for two text encoders also a list with one rate each.
    loraplus_unet, loraplus_text_encoder: the rate of LoRA's B as a multiple of the part's (LoRA+; Hayou et al. 2024,
    arXiv:2402.12354). blocks: a multiplier of the U-Net's rate for each of its blocks.
    """

    unet: Rate | None
    text_encoder: Rate | list[Rate] | None
    loraplus_unet: Rate | None
    loraplus_text_encoder: Rate | None
    blocks: Annotated[list[Rate], MinLen(1)] | None

    def __post_init__(self) -> None:
        if isinstance(self.text_encoder, list) and len(self.text_encoder) != 2:
            raise UserError("rates.text_encoder", self.text_encoder, "give one number, or one for each of two encoders")
        if self.unet == 0:
            raise UserError("rates.unet", self.unet, "it would not train; use network.unet=false")
        if 0 in self.of_encoders:
            raise UserError("rates.text_encoder", self.text_encoder, "it would not train; leave it out of the network")
        if self.blocks is not None and 0 in self.blocks:
            mend = f"block {self.blocks.index(0)} would not train; give it rank 0 in network.block_dims, and 1 here"
            raise UserError("rates.blocks", self.blocks, mend)
        for key in ("loraplus_unet", "loraplus_text_encoder"):
            if getattr(self, key) == 0:
                raise UserError(f"rates.{key}", 0, "B would stay at zero and nothing train; use a number above 0")

    @property
    def of_encoders(self) -> list[float | None]:
        """The rates of the first and the second text encoder."""
        both = self.text_encoder if isinstance(self.text_encoder, list) else [self.text_encoder] * 2
        return [*both]

    @property
    def given(self) -> list[str]:
        """The keys that are set."""
        return [key for key in vars(self) if getattr(self, key) is not None]


class Placed(Protocol):
    """The properties that determine a parameter's group."""

    @property
    def part(self) -> str:
        """unet, text_encoder or text_encoder_2."""
        ...

    @property
    def block(self) -> int | None:
        """The block of the U-Net, None outside the blocks."""
        ...

    @property
    def plus(self) -> bool:
        """Whether it is LoRA's B."""
        ...


class Group(NamedTuple):
    """A parameter group: its name, its own rate (None: the optimizer's), and the rate's multiplier."""

    name: str
    rate: float | None
    factor: float


def group_of(parameter: Placed, rates: Rates) -> Group:
    """The group of a parameter: its part's, or a separate one for B or for a block if its rate differs."""
    if parameter.part == "unet":
        name, rate, plus = "unet", rates.unet, rates.loraplus_unet
        block = parameter.block if rates.blocks is not None else None
    else:
        second = parameter.part == "text_encoder_2"
        rate, plus, block = rates.of_encoders[second], rates.loraplus_text_encoder, None
        name = parameter.part if isinstance(rates.text_encoder, list) else "text_encoder"
    factor = 1.0
    if block is not None and rates.blocks is not None:
        name, factor = f"{name}_block_{block:02d}", rates.blocks[block]
    if parameter.plus and plus is not None:
        name, factor = f"{name}_plus", factor * plus
    return Group(name, rate, factor)
