"""What a network's file holds, read from its header: which algorithm, which layers, which ranks; no torch."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.networks.blocks import Rank
from sweeplora.networks.keys import Shaped, encoder_layers, unet_key
from sweeplora.tensors.pickled import read_checkpoint
from sweeplora.tensors.stored import Stored, UnreadableFile, read_safetensors

MERGEABLE = ("locon", "loha", "lokr", "glora", "full", "norm")
"""Kinds of adapters that can be merged into a base model before training."""

_MARKS = {
    "lora_up.weight": "locon",
    "hada_w1_a": "loha",
    "lokr_w1": "lokr",
    "lokr_w1_a": "lokr",
    "a1.weight": "glora",
    "diff": "full",
    "w_norm": "norm",
    "oft_blocks": "oft",
    "on_input": "ia3",
    "lambda_layer": "tlora",
}
_RANK_SIDES = {
    "locon": ("lora_down.weight",),
    "loha": ("hada_w1_b",),
    "lokr": ("lokr_w2_b", "lokr_w1_b"),
    "glora": ("a2.weight",),
    "tlora": ("q_layer.weight",),
}
_BUTTERFLY_DIMENSIONS = 4
_KINDS_OF_CLASSES = {"dylora": "locon", "diagoft": "oft"}
_FORMATS = {"F64": "<d", "F32": "<f", "F16": "<e"}


@dataclass(frozen=True)
class Held:
    """One layer's adapter in a file, by its tensors' names.

    `kind`: as in `MERGEABLE`, or oft, boft, ia3, tlora. `rank`: None where it has none.
    """

    kind: str
    rank: int | None
    alpha: float
    tensors: Mapping[str, Stored]

    @property
    def dora(self) -> bool:
        """Its weight is decomposed into direction and magnitude."""
        return "dora_scale" in self.tensors

    @property
    def dora_on_output(self) -> bool:
        """The magnitudes are those of output channels, not of input channels."""
        return self.tensors["dora_scale"].shape[1] == 1

    @property
    def tucker(self) -> bool:
        """A convolution in Tucker form."""
        return any(name in self.tensors for name in ("lora_mid.weight", "hada_t1", "lokr_t1", "lokr_t2"))

    @property
    def whole(self) -> bool:
        """A LoKr of which no factor is low-rank, whose alpha no program applies."""
        return self.kind == "lokr" and not any(name in self.tensors for name in _RANK_SIDES["lokr"])


def ranks_from(path: Path, facts: Shaped) -> dict[str, Rank]:
    """Rank and alpha of every layer in the file of `network.weights`, by our keys; norms have none."""
    held = read("network.weights", path, facts)
    return {key: Rank(one.rank, one.alpha) for key, one in held.items() if one.rank is not None}


def read(key: str, path: Path, facts: Shaped) -> dict[str, Held]:
    """What a file holds for each layer, by our keys; ours, kohya's and LyCORIS' files, .safetensors or .ckpt / .pt.

    For SDXL, keys made of diffusers' module names are taken as well. Raises UserError for `key`: no such file,
    no network in it, or layers that this model does not have.
    """
    layers: dict[str, dict[str, Stored]] = {}
    for name, stored in tensors_of(key, path).items():
        layer, _, tensor = name.partition(".")
        layers.setdefault(layer, {})[tensor] = stored
    known, sizes = known_keys(facts), _sizes(facts)
    foreign = [name for name, tensors in layers.items() if name not in known or _misfits(tensors, sizes[known[name]])]
    if foreign:
        mend = (
            f"{len(foreign)} of its {len(layers)} layers are in no {facts.layout.name} model, first {foreign[0]}; "
            "give a file made for this model, with kohya's or LyCORIS' names"
        )
        raise UserError(key, path, mend)
    return {known[layer]: _held(key, path, layer, tensors) for layer, tensors in layers.items()}


def known_keys(facts: Shaped) -> dict[str, str]:
    """Every key that a file for this model may use, ours and those of diffusers' names -> ours."""
    names = facts.layout.unet_names(facts.unet_shapes())
    by_diffusers = {unet_key(name): unet_key(original) for name, original in names.items()}
    return by_diffusers | {key: key for key in _sizes(facts)}


def _sizes(facts: Shaped) -> dict[str, tuple[int, ...]]:
    """Our key -> shape of the layer's weight."""
    shapes = facts.unet_shapes()
    found = {unet_key(original): shapes[name] for name, original in facts.layout.unet_names(shapes).items()}
    for encoder, prefix in zip(facts.encoder_shapes(), facts.layout.encoder_prefixes, strict=True):
        found |= {key: encoder[name] for name, key in encoder_layers(encoder, "full", prefix).items()}
    return found


def _misfits(tensors: Mapping[str, Stored], shape: tuple[int, ...]) -> bool:
    """Whether a plain LoRA or a whole difference is for a layer of another size: another model's, by its name ours."""
    if "diff" in tensors:
        return prod(tensors["diff"].shape) != prod(shape)
    if not {"lora_up.weight", "lora_down.weight"} <= tensors.keys():
        return False
    outputs, inputs = tensors["lora_up.weight"].shape[0], tensors["lora_down.weight"].shape[1:]
    return outputs != shape[0] or prod(inputs) != prod(shape[1 : 2 if "lora_mid.weight" in tensors else None])


def tensors_of(key: str, path: Path) -> dict[str, Stored]:
    """Where each tensor of a network's file lies."""
    mend = "give a network's .safetensors, .ckpt or .pt"
    if not path.is_file():
        raise UserError(key, path, f"the file does not exist; {mend}")
    try:
        return read_safetensors(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    except UnreadableFile as fault:
        raise UserError(key, path, f"{fault}; {mend}") from None


def kind_of(target: str) -> str:
    """The kind of adapter that an algorithm's class writes into files."""
    name = target.rpartition(".")[2].lower()
    return _KINDS_OF_CLASSES.get(name, name)


def _held(key: str, path: Path, layer: str, tensors: Mapping[str, Stored]) -> Held:
    kinds = [kind for mark, kind in _MARKS.items() if mark in tensors]
    if not kinds:
        mend = f"{layer} has {', '.join(sorted(tensors))}, of no known algorithm; give a file of kohya's or LyCORIS'"
        raise UserError(key, path, mend)
    kind = kinds[0]
    if kind == "oft" and len(tensors["oft_blocks"].shape) == _BUTTERFLY_DIMENSIONS:
        kind = "boft"
    rank = next((tensors[side].shape[0] for side in _RANK_SIDES.get(kind, ()) if side in tensors), None)
    alpha = _scalar(tensors["alpha"]) if "alpha" in tensors else float(rank or 0)
    if kind == "lokr" and rank is None:
        rank = int(alpha) or 1
    return Held(kind, rank, alpha or float(rank or 0), tensors)


def _scalar(stored: Stored) -> float:
    """The number in a tensor of one element."""
    with stored.file.open("rb") as stream:
        stream.seek(stored.offset)
        data = stream.read(stored.extent)
    if stored.dtype == "BF16":
        return float(struct.unpack("<f", b"\0\0" + data[:2])[0])
    if stored.dtype in _FORMATS:
        return float(struct.unpack(_FORMATS[stored.dtype], data)[0])
    return float(int.from_bytes(data, "little", signed=True))
