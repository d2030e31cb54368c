"""A LyCORIS network on a base model: an adapter on every selected layer, attached and taken off as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from lycoris.modules.base import LycorisBaseModule
from torch import Tensor, nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks import keys
from sweeplora.networks.algorithms import Algorithm, LoCon
from sweeplora.networks.modules import Drop, Layer, beside, file_tensors, goes_beside, keep, make, update
from sweeplora.randomness import seed_of

Part = Literal["unet", "text_encoder"]
PARTS: tuple[Part, ...] = get_args(Part)


def attach(family: Family, algorithm: Algorithm, seed: int) -> Network:
    """Put an adapter on every layer that the preset selects, on the layer's device, in float32.

    Each adapter's initial values follow from (seed, its key) alone. Attach after the base has the precision
    it trains in: DoRA's magnitudes are the norms of the weights found here. Raises UserError for a preset
    that selects nothing.
    """
    layers = _selected(family, algorithm)
    if not layers:
        raise UserError("network.preset", algorithm.preset, "selects no layer of this model; use preset full")
    adapters = {}
    with torch.random.fork_rng(devices=[]):
        for key, layer in layers.items():
            torch.manual_seed(seed_of(seed, "init", key))
            module = make(algorithm, key, layer).to(layer.weight.device)
            adapters[key] = Adapter(module, layer, algorithm)
    return Network(adapters)


def _selected(family: Family, algorithm: Algorithm) -> dict[str, Layer]:
    layers = _layers(family.unet)
    found = {key: layers[name] for name, key in keys.unet_layers(_shapes(layers), algorithm.preset).items()}
    if algorithm.text_encoders:
        for encoder, prefix in zip(family.text_encoders, keys.ENCODER_PREFIXES, strict=True):
            layers = _layers(encoder)
            names = keys.encoder_layers(_shapes(layers), algorithm.preset, prefix)
            found |= {key: layers[name] for name, key in names.items()}
    return found


def _layers(model: nn.Module) -> dict[str, Layer]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def _shapes(layers: Mapping[str, Layer]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(layer.weight.shape) for name, layer in layers.items()}


class Adapter:
    """One module on one layer, whose forward it takes over until `detach`.

    A LoCon runs beside its layer, as down and up; so does a large LoKr. The others rebuild the layer's weight,
    and where all is float32 the rebuilt weight takes the layer's place, which saves one of two products.
    """

    def __init__(self, module: LycorisBaseModule, layer: Layer, algorithm: Algorithm) -> None:
        self.module = module
        self.strength = 1.0
        self._layer = layer
        self._base = layer.forward
        self._dora = algorithm.dora
        self._beside = goes_beside(module)
        self._skip = algorithm.module_dropout
        self._drop = Drop(algorithm.dropout if isinstance(algorithm, LoCon) else 0.0, algorithm.rank_dropout)
        layer.forward = self.forward  # type: ignore[assignment,method-assign]

    def detach(self) -> None:
        """Give the layer its own forward back."""
        del self._layer.forward

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output with the update at `strength`; 0 is the layer itself."""
        training = self.module.training
        if self.strength == 0 or (training and self._skip and torch.rand(1).item() < self._skip):
            return self._base(x)
        drop = self._drop if training else Drop(0.0, 0.0)
        if self._beside:
            added = beside(self.module, x, drop)
            return self._base(x) + (added if self.strength == 1 else self.strength * added)
        return self._rebuilt(x, drop)

    def _rebuilt(self, x: Tensor, drop: Drop) -> Tensor:
        layer, module = self._layer, self.module
        change = self._change(drop)
        if layer.weight.dtype == x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type):
            whole: Tensor = module.op(x, layer.weight + change, layer.bias, **module.kw_dict)
            return whole
        added: Tensor = module.op(x, change.to(x.dtype), None, **module.kw_dict)
        return self._base(x) + added

    def _change(self, drop: Drop) -> Tensor:
        """What is added to the layer's weight, at the strength that is set; always in float32.

        In half precision, a small update would be lost in a sum with the weight.
        """
        base = self._layer.weight
        with torch.autocast(base.device.type, enabled=False):
            change = update(self.module)
            if drop.ranks:
                change = change * keep(len(change), drop.ranks, change).view(-1, *[1] * (change.dim() - 1))
            if self._dora:
                change = self.module.apply_weight_decompose(base + change) - base
            return change if self.strength == 1 else self.strength * change


class Network:
    """All adapters of a model by their keys: the state that trains.

    `modules`: key in a file -> LyCORIS module.
    """

    def __init__(self, adapters: Mapping[str, Adapter]) -> None:
        self._adapters = dict(adapters)
        self.modules: dict[str, LycorisBaseModule] = {key: adapter.module for key, adapter in adapters.items()}

    def parameters(self, part: Part) -> list[nn.Parameter]:
        """What trains of the U-Net or of the text encoders, in the order of their layers."""
        return [p for key, module in self.modules.items() if _part_of(key) == part for p in module.parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        """The network as loaders read it: `<key>.<tensor>` and `<key>.alpha`, float32, on its device.

        Scalars are multiplied in, and LoHa's and LoKr's scale too: for going on with a training take
        `trained_tensors`.
        """
        return {
            f"{key}.{name}": value.detach()
            for key, module in self.modules.items()
            for name, value in file_tensors(module).items()
        }

    def trained_tensors(self) -> dict[str, Tensor]:
        """Every parameter as it is, sharing its memory: `<key>.<parameter>`."""
        return {
            f"{key}.{name}": value.detach()
            for key, module in self.modules.items()
            for name, value in module.named_parameters()
        }

    def load_trained_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy in what `trained_tensors` gave; raises ValueError where the names are not this network's."""
        mine = self.trained_tensors()
        if mine.keys() != tensors.keys():
            different = sorted(mine.keys() ^ tensors.keys())
            raise ValueError(f"{len(different)} tensors are not of this network, the first is {different[0]}")
        for name, value in tensors.items():
            mine[name].copy_(value)

    def set_strength(self, strength: float) -> None:
        """0: exactly the base model; 1: with the whole update; between: with a part of it."""
        for adapter in self._adapters.values():
            adapter.strength = strength

    def train(self, mode: bool) -> None:
        """Dropouts on or off."""
        for module in self.modules.values():
            module.train(mode)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Move the adapters; they train in float32 whatever the base's precision."""
        for module in self.modules.values():
            module.to(device, dtype)

    def detach(self) -> None:
        """Take every adapter off: the base model as it was."""
        for adapter in self._adapters.values():
            adapter.detach()


def _part_of(key: str) -> Part:
    return "unet" if key.startswith("lora_unet_") else "text_encoder"
