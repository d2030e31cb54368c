"""Reads a network's file from its header: its algorithm, layers and ranks; no torch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.blocks import Rank
from sweeplora.networks.file.kinds import file_kinds
from sweeplora.networks.file_kind import FileKind
from sweeplora.networks.keys import Shaped, encoder_layers, unet_key
from sweeplora.tensors.find import damaged_part, find_tensors
from sweeplora.tensors.finite import first_not_finite
from sweeplora.tensors.stored import Stored, UnreadableFile

_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e"}
_MIDDLES = ("lora_mid.weight", "hada_t1", "lokr_t1", "lokr_t2")


@dataclass(frozen=True)
class Held:
    """One layer's adapter in a file, by its tensors' names.

    `rank`: None if the kind has none. `whole`: no factor is low-rank, so no program applies alpha; `rank` then
    equals alpha.
    """

    kind: FileKind
    rank: int | None
    alpha: float
    whole: bool
    tensors: Mapping[str, Stored]

    @property
    def dora(self) -> bool:
        """Whether its weight is decomposed into direction and magnitude."""
        return "dora_scale" in self.tensors

    @property
    def dora_on_output(self) -> bool:
        """Whether the magnitudes are those of output channels rather than input channels."""
        return self.tensors["dora_scale"].shape[1] == 1

    @property
    def tucker(self) -> bool:
        """Whether it is a convolution in Tucker form."""
        return any(name in self.tensors for name in _MIDDLES)


def ranks_of_file(held: Mapping[str, Held]) -> dict[str, Rank]:
    """Rank and alpha of every layer in a file, by our keys; norms have none."""
    return {key: Rank(one.rank, one.alpha) for key, one in held.items() if one.rank is not None}


def read(key: str, path: Path, facts: Shaped, algorithm: type[Algorithm] | None = None) -> dict[str, Held]:
    """What a file holds for each layer, by our keys. Reads our, kohya's and LyCORIS' files: .safetensors, .ckpt, .pt.

    For SDXL, keys made of diffusers' module names are accepted too. `algorithm`: its kind of file is tried first.
    Raises UserError for `key` if the file does not exist or holds no network, if the model lacks a layer, or if
    tensors do not match each other.
    """
    layers: dict[str, dict[str, Stored]] = {}
    for name, stored in _tensors_of(key, path).items():
        layer, _, tensor = name.partition(".")
        layers.setdefault(layer, {})[tensor] = stored
    known, shapes = known_keys(facts), _shapes_by_key(facts)
    foreign = [name for name, tensors in layers.items() if name not in known or _misfits(tensors, shapes[known[name]])]
    if foreign:
        mend = (
            f"{len(foreign)} of its {len(layers)} layers are in no {facts.layout.name} model, first {foreign[0]}; "
            "give a file made for this model, with kohya's or LyCORIS' names"
        )
        raise UserError(key, path, mend)
    kinds = _Kinds(file_kinds(algorithm))
    return {
        known[layer]: _held(key, path, (layer, tensors), (kinds, shapes[known[layer]]))
        for layer, tensors in layers.items()
    }


def known_keys(facts: Shaped) -> dict[str, str]:
    """Every key that a file for this model may use, ours and those from diffusers' names -> our key."""
    names = facts.layout.unet_names(facts.unet_shapes())
    by_diffusers = {unet_key(name): unet_key(original) for name, original in names.items()}
    return by_diffusers | {key: key for key in _shapes_by_key(facts)}


class _Kinds:
    """The kinds of adapters, iterated only as far as the layers of a file require."""

    def __init__(self, kinds: Iterable[FileKind]) -> None:
        self._coming = iter(kinds)
        self._seen: list[FileKind] = []

    def of(self, tensors: Mapping[str, Stored]) -> FileKind | None:
        """The first kind that holds a layer's tensors."""
        for kind in self._seen:
            if kind.holds(tensors):
                return kind
        for kind in self._coming:
            self._seen.append(kind)
            if kind.holds(tensors):
                return kind
        return None


def _shapes_by_key(facts: Shaped) -> dict[str, tuple[int, ...]]:
    """Our key -> shape of the layer's weight."""
    shapes = facts.unet_shapes()
    found = {unet_key(original): shapes[name] for name, original in facts.layout.unet_names(shapes).items()}
    for encoder, prefix in zip(facts.encoder_shapes(), facts.layout.encoder_prefixes, strict=True):
        found |= {key: encoder[name] for name, key in encoder_layers(encoder, "full", prefix).items()}
    return found


def _misfits(tensors: Mapping[str, Stored], shape: tuple[int, ...]) -> bool:
    """Whether a plain LoRA or a full difference is for a layer of another size: from another model with equal names."""
    if "diff" in tensors:
        return prod(tensors["diff"].shape) != prod(shape)
    if not {"lora_up.weight", "lora_down.weight"} <= tensors.keys():
        return False
    outputs, inputs = tensors["lora_up.weight"].shape[:1], tensors["lora_down.weight"].shape[1:]
    return outputs != shape[:1] or prod(inputs) != prod(shape[1 : 2 if "lora_mid.weight" in tensors else None])


def _tensors_of(key: str, path: Path) -> dict[str, Stored]:
    mend = "give a network's .safetensors, .ckpt or .pt"
    if not path.is_file():
        raise UserError(key, path, f"the file does not exist; {mend}")
    try:
        found = find_tensors(path)
    except UnreadableFile as fault:
        raise UserError(key, path, f"{fault}; {mend}") from None
    damaged = damaged_part(path)
    if damaged is not None:
        raise UserError(key, path, f"is damaged: {damaged} is not what was written; get the file again")
    if not found:
        raise UserError(key, path, f"holds no tensors; {mend}")
    broken = first_not_finite(found)
    if broken is not None:
        mend = "has numbers that are not finite (NaN or infinity); give a file of a training that did not diverge"
        raise UserError(key, path, f"{broken} {mend}")
    return found


def _held(key: str, path: Path, layer: tuple[str, Mapping[str, Stored]], known: tuple[_Kinds, tuple[int, ...]]) -> Held:
    (name, tensors), (kinds, shape) = layer, known
    kind = kinds.of(tensors)
    if kind is None:
        mend = f"{name} has {', '.join(sorted(tensors))}, of no known algorithm; give a file of kohya's or LyCORIS'"
        raise UserError(key, path, mend)
    formed = kind.formed(tensors, shape)
    damage = kind.damage(formed)
    if "alpha" in tensors and prod(tensors["alpha"].shape) != 1:
        damage = f"has an alpha of {list(tensors['alpha'].shape)}"
    integers = [name for name, one in tensors.items() if prod(one.shape) > 1 and not one.is_floating_point]
    if integers:
        damage = f"has {integers[0]} in {tensors[integers[0]].dtype}, which holds no fractions"
    if damage is not None:
        raise UserError(key, path, f"is damaged: {name} {damage}; get the file again")
    rank = next((formed[side].shape[0] for side in kind.rank_sides if side in formed), None)
    alpha = _scalar(tensors["alpha"]) if "alpha" in tensors else float(rank or 0)
    whole = rank is None and bool(kind.rank_sides)
    if whole:
        rank = int(alpha) or 1
    return Held(kind, rank, alpha or float(rank or 0), whole, tensors)


def _scalar(stored: Stored) -> float:
    """The value of a one-element tensor."""
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        data = stream.read(stored.extent)
    if stored.dtype == "BF16":
        return float(struct.unpack("<f", b"\0\0" + data[:2])[0])
    if stored.dtype in _FORMATS:
        return float(struct.unpack(_FORMATS[stored.dtype], data)[0])
    return float(int.from_bytes(data, "little", signed=True))
