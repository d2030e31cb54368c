"""A LyCORIS network on a base model: an adapter on every selected layer, attached and detached together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from hydra.utils import get_object
from torch import Tensor, nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks import keys
from sweeplora.networks.adapters.adapter import Adapter
from sweeplora.networks.adapters.rankless import Norm, NormAdapter
from sweeplora.networks.algorithms import Algorithm, Ranked, Scaled
from sweeplora.networks.blocks import Rank, Ranks, encoder_rank, ranks_of
from sweeplora.networks.file.held import Held, ranks_of_file, read
from sweeplora.networks.file.update import scaled_tensors
from sweeplora.networks.max_norm import NormLimit, limit_norms
from sweeplora.randomness import seed_of

Part = Literal["unet", "text_encoder"]
PARTS: tuple[Part, ...] = get_args(Part)
Shelf = Literal["unet", "text_encoder", "text_encoder_2"]
_MOST_MERGED_BYTES = 1 << 30
"""Changed weights in memory during a validation: all of a small model's, a tenth of SDXL's U-Net in float32."""
ENCODERS: tuple[Shelf, ...] = ("text_encoder", "text_encoder_2")


class AdaptedLayer(NamedTuple):
    """Where an adapter goes: `block` of the U-Net, None outside its blocks; `rank` None if it has none."""

    part: Shelf
    block: int | None
    layer: nn.Module
    rank: Rank | None


class Trained(NamedTuple):
    """One trained parameter, and what its learning rate may depend on; `plus`: it gets LoRA+'s higher rate."""

    key: str
    part: Shelf
    block: int | None
    plus: bool
    parameter: nn.Parameter


def attach(family: Family, algorithm: Algorithm, seed: int) -> Network:
    """Put an adapter on every layer that the options select, on the layer's device, in float32.

    Each adapter's initial values depend only on (seed, its key), or come from the file `weights`. Attach after
    the base has its training precision: DoRA's magnitudes are initialised from the norms of the current weights.
    Raises UserError for options that select nothing, and for a file that does not fit.
    """
    held: dict[str, Held] = {}
    if algorithm.weights is not None:
        held = read("network.weights", Path(algorithm.weights), family.facts, type(algorithm))
    places = dict(_places(family, algorithm, ranks_of_file(held) if algorithm.dim_from_weights else None))
    if not places:
        raise UserError("network.preset", algorithm.preset, "selects no layer of this model; use preset full")
    make = adapter_of(algorithm)
    adapters: dict[str, Adapter[Any]] = {}
    try:
        with torch.random.fork_rng(devices=[]):
            for key, place in places.items():
                torch.default_generator.manual_seed(seed_of(seed, "init", key))
                if isinstance(place.layer, Norm):
                    adapters[key] = NormAdapter(algorithm, key, place.layer)
                else:
                    adapters[key] = make(algorithm, key, place.layer, place.rank)
        network = Network(adapters, places)
        network.load_file_tensors({key: scaled_tensors(one, torch.device("cpu")) for key, one in held.items()})
    except BaseException:
        for adapter in adapters.values():
            adapter.detach()
        raise
    return network


def adapter_of(algorithm: Algorithm) -> Callable[..., Adapter[Any]]:
    """The class that implements an algorithm on one layer: (algorithm, key, layer, rank) -> adapter."""
    found: Callable[..., Adapter[Any]] = get_object(algorithm.ADAPTER)
    return found


def _places(
    family: Family, algorithm: Algorithm, known: Mapping[str, Rank] | None
) -> Iterator[tuple[str, AdaptedLayer]]:
    """The trained layers by their keys; `known`: the ranks from a file, which then override the options."""
    ranks = _ranks(algorithm)
    layout = family.facts.layout
    if algorithm.unet:
        layers = _layers(family.unet)
        for name, key in keys.unet_layers(_shapes(layers), algorithm.preset, layout).items():
            if known is not None:
                rank = known.get(key)
            else:
                rank = ranks_of(ranks, layout, name, layers[name].weight.shape) if ranks else None
            if rank or not ranks:
                yield key, AdaptedLayer("unet", layout.block_of(name), layers[name], rank)
    if algorithm.train_norm:
        norms = {name: norm for name, norm in family.unet.named_modules() if isinstance(norm, Norm)}
        for name, key in keys.norm_layers(norms, algorithm.preset, layout).items():
            yield key, AdaptedLayer("unet", layout.block_of(name), norms[name], None)
    if algorithm.text_encoders:
        for part, encoder, prefix in zip(ENCODERS, family.text_encoders, layout.encoder_prefixes, strict=False):
            layers = _layers(encoder)
            for name, key in keys.encoder_layers(_shapes(layers), algorithm.preset, prefix).items():
                rank = known.get(key) if known is not None else ranks and encoder_rank(ranks)
                if rank or not ranks:
                    yield key, AdaptedLayer(part, None, layers[name], rank)


def _ranks(algorithm: Algorithm) -> Ranks | None:
    """The rank options; a rotation has no alpha."""
    if isinstance(algorithm, Scaled):
        return Ranks(*(getattr(algorithm, name) for name in Ranks._fields))
    if isinstance(algorithm, Ranked):
        sizes = (algorithm.block_dims, None, algorithm.conv_block_dims, None)
        return Ranks(algorithm.dim, algorithm.dim, algorithm.conv_dim, None, *sizes)
    return None


def _layers(model: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}


def _shapes(layers: Mapping[str, nn.Linear | nn.Conv2d]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(layer.weight.shape) for name, layer in layers.items()}


class Network:
    """All adapters of a model by their keys: the trained state.

    `modules`: key in a file -> the module with the parameters.
    """

    def __init__(self, adapters: Mapping[str, Adapter[Any]], places: Mapping[str, AdaptedLayer]) -> None:
        self._adapters = dict(adapters)
        self._places = dict(places)
        self.modules: dict[str, nn.Module] = {key: adapter.module for key, adapter in adapters.items()}
        self._parts = [part for module in self.modules.values() for part in module.modules()]

    def parameters(self, part: Part) -> list[nn.Parameter]:
        """The trained parameters of the U-Net or of the text encoders, in layer order."""
        return [one.parameter for one in self.trained() if (one.part == "unet") == (part == "unet")]

    def trained(self) -> list[Trained]:
        """Every trained parameter, in layer order."""
        return [
            Trained(key, place.part, place.block, name.startswith(self._adapters[key].plus), parameter)
            for key, place in self._places.items()
            for name, parameter in self.modules[key].named_parameters()
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """The network as loaders read it: `<key>.<tensor>` and `<key>.alpha`, on its device.

        Scalars, constraints and the scale of LoHa and LoKr are folded in; use `trained_tensors` to resume a
        training.
        """
        return {
            f"{key}.{name}": value.detach()
            for key, adapter in self._adapters.items()
            for name, value in adapter.file_tensors().items()
        }

    def load_file_tensors(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load a file's tensors, key -> name -> tensor, as loaders read them; without an alpha the scale is 1.

        Layers that the file omits are unchanged. Raises UserError for a layer or a tensor that this network does
        not have.
        """
        for key, layer in tensors.items():
            if key not in self._adapters:
                mend = "does not train here; choose the preset and the options that the file was made with"
                raise UserError("network.weights", key, mend)
            self._adapters[key].load(layer)

    def trained_tensors(self) -> dict[str, Tensor]:
        """All tensors needed to resume training, not copied: `<key>.<name>`, parameters and their initial values."""
        return {
            f"{key}.{name}": value.detach()
            for key, adapter in self._adapters.items()
            for name, value in adapter.state().items()
        }

    def load_trained_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy in the tensors of `trained_tensors`; raises ValueError if they are not this network's."""
        mine = self.trained_tensors()
        if mine.keys() != tensors.keys():
            different = sorted(mine.keys() ^ tensors.keys())
            raise ValueError(f"{len(different)} tensors are not of this network, the first is {different[0]}")
        for name, value in tensors.items():
            if mine[name].shape != value.shape:
                raise ValueError(f"{name} is {list(value.shape)}, and in this network {list(mine[name].shape)}")
        for name, value in tensors.items():
            mine[name].copy_(value)

    def limit_norms(self, maximum: float) -> NormLimit:
        """Scale every update down to at most this norm (`scale_weight_norms`), and report the result."""
        return limit_norms(list(self._adapters.values()), maximum)

    def at(self, timesteps: Tensor, num_timesteps: int) -> None:
        """Set a batch's noise levels [B] in the U-Net's adapters before the forward pass; T-LoRA depends on them."""
        for key, adapter in self._adapters.items():
            if self._places[key].part == "unet":
                adapter.at(timesteps, num_timesteps)

    def set_strength(self, strength: float) -> None:
        """Set the strength. 0: exactly the base model; 1: the whole update; in between: a part of it."""
        for adapter in self._adapters.values():
            adapter.strength = strength

    @contextmanager
    def merged(self, most_bytes: int = _MOST_MERGED_BYTES) -> Iterator[None]:
        """Add each update to its weight once instead of in every forward pass; for float32 evaluation.

        Each adapter keeps a changed copy of its layer's weight, so the base stays as it is. The copies take up to
        `most_bytes`; the layers that do not fit, counted in order, compute their update in every pass as before.
        """
        mergeable = []
        for adapter in self._adapters.values():
            size = adapter.merged_bytes
            if size is not None and size <= most_bytes:
                most_bytes -= size
                mergeable.append(adapter)
        try:
            with torch.no_grad():
                for adapter in mergeable:
                    adapter.merge()
            yield
        finally:
            for adapter in mergeable:
                adapter.unmerge()

    def train(self, mode: bool) -> None:
        """Turn dropout, DyLoRA's random ranks and T-LoRA's masks on or off."""
        for module in self._parts:
            if type(module).train is nn.Module.train:
                module.training = mode  # `train` would visit the modules below it again, each more slowly
            else:
                module.train(mode)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Move the adapters to a device and to their training precision."""
        for module in self.modules.values():
            module.to(device, dtype)

    def detach(self) -> None:
        """Detach every adapter, which restores the base model."""
        for adapter in self._adapters.values():
            adapter.detach()
