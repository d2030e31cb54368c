"""How large a network is, counted on its adapters for layers of the model's shapes, without the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from sweeplora.models.facts import ModelFacts, Part
from sweeplora.networks import keys
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.blocks import Rank
from sweeplora.networks.network import adapter_of

_PER_NORM = 2  # weight and bias


class NetworkSize(NamedTuple):
    """Numbers that train, and numbers in a weights file (alphas included); `shape` holds most of those that train."""

    parameters: int
    in_file: int
    shape: tuple[int, ...]


class _Place(NamedTuple):
    shape: tuple[int, ...]
    bias: bool
    rank: Rank | None


def measure(model: ModelFacts, network: Mapping[str, Any], algorithm: Algorithm) -> NetworkSize:
    """The size of the network that the config group `network`, built as `algorithm`, puts on a model.

    One adapter is made for each different layer: on the meta device, or one after the other on the CPU where an
    algorithm reads values as it begins. Ranks are those of the configuration, also where `dim_from_weights` takes a
    file's.
    """
    shapes: Counter[tuple[int, ...]] = Counter()
    in_file = 0
    for place, count in Counter(_places(model, network)).items():
        trained, stored = _of_layer(algorithm, place)
        for shape in trained:
            shapes[shape] += count
        in_file += count * stored
    norms = sum(_PER_NORM * size for size in _norms(model, network))
    if norms:
        shapes[(norms,)] += 1
    totals = {shape: count * torch.Size(shape).numel() for shape, count in shapes.items()}
    return NetworkSize(sum(totals.values()), in_file + norms, max(totals, key=lambda shape: totals[shape]))


def _places(model: ModelFacts, network: Mapping[str, Any]) -> Iterable[_Place]:
    """Every layer that trains."""
    chosen = keys.selected(model, network)
    preset, layout = network["preset"], model.layout
    parts: list[tuple[Part, Mapping[str, str]]] = [
        (model.unet, keys.unet_layers(model.unet_shapes(), preset, layout)),
        *(
            (part, keys.encoder_layers(part.shapes(), preset, prefix))
            for part, prefix in zip(model.text_encoders, layout.encoder_prefixes, strict=True)
        ),
    ]
    for part, names in parts:
        for name, key in names.items():
            if (layer := chosen.get(key)) is not None:
                yield _Place(layer.shape, f"{name}.bias" in part.tensors, layer.rank)


def _of_layer(algorithm: Algorithm, place: _Place) -> tuple[list[tuple[int, ...]], int]:
    """The shapes that train on one layer, and the numbers in its part of a file."""
    try:
        return _of_layer_on("meta", algorithm, place)
    except (RuntimeError, NotImplementedError):
        return _of_layer_on("cpu", algorithm, place)


def _of_layer_on(device: str, algorithm: Algorithm, place: _Place) -> tuple[list[tuple[int, ...]], int]:
    with torch.device(device), torch.no_grad():
        adapter = adapter_of(algorithm)(algorithm, "measured", _layer(place, device), place.rank)
        stored = sum(tensor.numel() for tensor in adapter.file_tensors().values())
    return [tuple(parameter.shape) for parameter in adapter.module.parameters()], stored


def _layer(place: _Place, device: str) -> nn.Module:
    outputs, inputs, *kernel = place.shape
    layer: nn.Module
    with torch.device("meta"):
        if kernel:
            layer = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), bias=place.bias)
        else:
            layer = nn.Linear(inputs, outputs, bias=place.bias)
    layer.to_empty(device=device)
    for parameter in layer.parameters():
        parameter.data.zero_()
    return layer


def _norms(model: ModelFacts, network: Mapping[str, Any]) -> list[int]:
    """The widths of the norms that train."""
    if not network["train_norm"]:
        return []
    widths = {name: shape[0] for name, shape in model.unet_shapes().items() if len(shape) == 1}
    return [widths[name] for name in keys.norm_layers(widths, network["preset"], model.layout)]
