"""A U-Net's keys and values of its captions, computed once for all samples and all passes that share a caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

Project = Callable[[Tensor], Tensor]
"""Encoded captions [B, T, D] -> a layer's keys or values of them [B, T, K]."""


class CaptionsOnce:
    """The encoded captions of the passes to come, and the keys and values that have been computed of them."""

    def __init__(self) -> None:
        self._hidden: Tensor | None = None
        self._rows: tuple[Tensor, Tensor] | None = None
        """The row that each different caption is first in, and which of these captions each row has."""
        self._kept: dict[int, Tensor] = {}

    def are(self, hidden: Tensor, captions: Sequence[object]) -> None:
        """Until the next call passes may get `hidden` [B, T, D], whose rows encode these captions; equal ones are one.

        A pass that gets another tensor computes with that, even if it is a copy.
        """
        self._hidden = hidden
        self._kept.clear()
        numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
        place = [numbers[caption] for caption in captions]
        first = [place.index(number) for number in range(len(numbers))]
        self._rows = None
        if len(first) < len(place):
            self._rows = torch.tensor(first, device=hidden.device), torch.tensor(place, device=hidden.device)

    def projected(self, layer: int, project: Project, hidden: Tensor) -> Tensor:
        """A layer's keys or values of the encoded captions `hidden`."""
        if hidden is not self._hidden:
            return project(hidden)
        if layer not in self._kept:
            self._kept[layer] = self._computed(project, hidden)
        return self._kept[layer]

    def _computed(self, project: Project, hidden: Tensor) -> Tensor:
        if self._rows is None:
            return project(hidden)
        first, place = self._rows
        return project(hidden[first])[place]


@contextmanager
def captions_once(unet: nn.Module) -> Iterator[CaptionsOnce]:
    """Within the context, for passes without gradients: the yielded object is told the captions of the next ones.

    Exact, but for last bits where equal captions are one: a product of fewer rows may have others. A compiled U-Net
    runs as before, and so does one that is not of diffusers. In half precision a pass gets a copy, and computes anew.
    """
    once, layers = CaptionsOnce(), _caption_layers(unet)
    before = [vars(layer).get("forward") for layer in layers]
    try:
        for number, layer in enumerate(layers):
            layer.forward = _through(once, number, layer.forward)
        yield once
    finally:
        for layer, forward in zip(layers, before, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _through(once: CaptionsOnce, number: int, project: Project) -> Project:
    return lambda hidden: once.projected(number, project, hidden)


def _caption_layers(unet: nn.Module) -> list[nn.Module]:
    """The layers that see the captions alone."""
    if not isinstance(unet, UNet2DConditionModel) or unet._compiled_call_impl is not None:
        return []
    crossing = [one for one in unet.modules() if isinstance(one, Attention) and one.is_cross_attention]
    return [layer for one in crossing for layer in (one.to_k, one.to_v)]
