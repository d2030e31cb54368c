"""The settings of preview images: target of conf/sample; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from sweeplora.errors import UserError
from sweeplora.training.previews.samplers import Sampler, check_sampler

Given = str | list[str | dict[str, Any]] | None
"""A prompt file, or a list of lines and objects; None: captions of the data."""


@dataclass(frozen=True)
class Sample:
    """When preview images are drawn, and the defaults for what a prompt does not specify.

    every_epochs or every_steps (optimizer steps), plus at_first (before the first step) and at_last. A sampler's
    name with `k_` means the same as without, as in sd-scripts. `karras`: noise levels of Karras et al. 2022
    (arXiv:2206.00364, equation 5). `weighted`: `(word:1.2)` in a prompt is emphasis; embeddings are multiplied as
    in training with weighted captions and not rescaled to their mean, as in sd-scripts.
    """

    prompts: Given
    every_epochs: Annotated[int, Ge(0)]
    every_steps: Annotated[int, Ge(0)]
    at_first: bool
    at_last: bool
    sampler: Sampler
    karras: bool
    steps: Annotated[int, Ge(1), Le(1000)]
    guidance: Annotated[float, Ge(0)]
    seed: Annotated[int, Ge(0)]
    weighted: bool

    def __post_init__(self) -> None:
        check_sampler(self.sampler, self.steps, self.karras)
        if self.every_epochs and self.every_steps:
            mend = f"with sample.every_epochs={self.every_epochs}; give one, the other 0"
            raise UserError("sample.every_steps", self.every_steps, mend)

    @property
    def draws(self) -> bool:
        """Whether any image is requested."""
        return bool(self.every_epochs or self.every_steps or self.at_first or self.at_last)

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether images are due after `epoch` of `epochs` epochs."""
        if epoch == 0:
            return self.at_first
        return (self.at_last and epoch == epochs) or is_due(epoch, self.every_epochs)


def is_due(count: int, every: int) -> bool:
    """Whether something with the interval `every` (0: never) is due at `count`."""
    return every > 0 and count % every == 0
