"""The tensors of a network's file and the update that they make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sweeplora.models.family import Family
from sweeplora.networks.file.held import Held, read
from sweeplora.tensors.reading import read_tensors

_CPU = torch.device("cpu")


_SCALED = {
    "locon": ("lora_up.weight",),
    "loha": ("hada_w1_a",),
    "lokr": ("lokr_w1", "lokr_w1_a"),
    "glora": ("a1.weight", "b1.weight"),
}
"""Where alpha / rank is multiplied in: in the factors here that a file has, once in each product."""


def start_tensors(path: Path, family: Family) -> dict[str, dict[str, Tensor]]:
    """What the file of `network.weights` holds, by our keys and the file's own names; float32, on the CPU.

    alpha is gone: alpha / rank is multiplied into the factors that `_SCALED` names, so that the update is their
    plain product. A LoKr of whole factors has no scale, as every loader has it.
    """
    held = read("network.weights", path, family.facts)
    return {key: _scaled_tensors(one, _CPU) for key, one in held.items()}


def change(kind: str, tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """What an adapter adds to a weight, in its shape, from tensors that `start_tensors` gives; DoRA included."""
    product = _PRODUCTS[kind](tensors, weight).reshape(weight.shape)
    if "dora_scale" not in tensors:
        return product
    return _decomposed(weight + product, tensors["dora_scale"]) - weight


def _locon(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    up, down = tensors["lora_up.weight"].flatten(1), tensors["lora_down.weight"]
    if "lora_mid.weight" not in tensors:
        return up @ down.flatten(1)
    return torch.einsum("oa,abhw,bi->oihw", up, tensors["lora_mid.weight"], down.flatten(1))


def _loha(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    halves = []
    for number in "12":
        a, b = tensors[f"hada_w{number}_a"], tensors[f"hada_w{number}_b"]
        if f"hada_t{number}" in tensors:
            halves.append(torch.einsum("abhw,ao,bi->oihw", tensors[f"hada_t{number}"], a, b))
        else:
            halves.append(a @ b)
    return halves[0] * halves[1]


def _lokr(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    return torch.kron(_lokr_factor(tensors, "1"), _lokr_factor(tensors, "2").flatten(1))


def _lokr_factor(tensors: Mapping[str, Tensor], number: str) -> Tensor:
    if f"lokr_w{number}" in tensors:
        return tensors[f"lokr_w{number}"]
    a, b = tensors[f"lokr_w{number}_a"], tensors[f"lokr_w{number}_b"]
    if f"lokr_t{number}" in tensors:
        return torch.einsum("abhw,ao,bi->oihw", tensors[f"lokr_t{number}"], a, b)
    return a @ b


def _glora(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    a1, a2, b1, b2 = (tensors[f"{name}.weight"] for name in ("a1", "a2", "b1", "b2"))
    through = torch.einsum("oi...,ij->oj...", weight, a1.flatten(1) @ a2.flatten(1))
    return through + (b1.flatten(1) @ b2.flatten(1)).reshape(weight.shape)


def _full(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    return tensors["diff"]


def _norm(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    return tensors["w_norm"]


_PRODUCTS = {"locon": _locon, "loha": _loha, "lokr": _lokr, "glora": _glora, "full": _full, "norm": _norm}


def _decomposed(weight: Tensor, magnitude: Tensor) -> Tensor:
    """The weight with the norms that `magnitude` says, per output [O, 1, ...] or per input channel [1, I, ...]."""
    kept = 0 if magnitude.shape[0] == len(weight) and magnitude.shape[1] == 1 else 1
    others = [axis for axis in range(weight.dim()) if axis != kept]
    norms = torch.linalg.vector_norm(weight, dim=others, keepdim=True) + torch.finfo(weight.dtype).eps
    decomposed: Tensor = weight * (magnitude / norms)
    return decomposed


def _scaled_tensors(one: Held, device: torch.device) -> dict[str, Tensor]:
    tensors = dict(read_tensors(one.tensors, device))
    tensors.pop("alpha", None)
    if one.rank is None or one.whole:
        return tensors
    for name in _SCALED.get(one.kind, ()):
        if name in tensors:
            tensors[name] *= one.alpha / one.rank
    return tensors
