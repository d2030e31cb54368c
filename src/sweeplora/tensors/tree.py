"""A tree of Python values and tensors as one safetensors file: the values as JSON in its header, no pickle.

The tensors of a dtype lie one after the other in a single tensor, named after the dtype, in the order in which the tree
names them; an entry a tensor in the header would be as large as a small network. In the JSON a tensor is
`{"tensor": n}`, its dtype, shape, device and order of dimensions in memory in the n-th row of `kinds`; a dictionary
that repeats the n-th of `forms`, with other tensors, is `{"same": n}`. `tensors.plain` has the forms of other values.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sweeplora.rundir.files import write_parts
from sweeplora.rundir.state import ABOUT
from sweeplora.tensors.plain import CONTAINERS, LEAVES, container, contents_of, is_key, leaf, of_leaf
from sweeplora.tensors.safetensors_header import split, with_metadata
from sweeplora.tensors.staging import on_device, on_host, read_into_host
from sweeplora.tensors.stored import ITEM_SIZES, UnreadableFile

TREE, DIGEST = "tree", "digest"
"""Keys of the header's metadata beside ABOUT: the tree's JSON, and sha256 over both and the tensors."""

_MARKS = ("tensor", "same", "map", "array", *CONTAINERS, *LEAVES)
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_DAMAGE = (
    *(ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(OverflowError, RecursionError, RuntimeError, MemoryError),
)
"""What reading raises where the bytes, or the JSON among them, are not what was written."""
_DTYPES = {name: dtype for dtype, name in _NAMES.items()}


class NotStorable(ValueError):
    """A value that is neither a tensor nor plain data; the message says which and where."""


def write_tree(path: Path, tree: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write a tree atomically, with a digest of everything in the file; `rundir.state.read_about` reads `about`.

    A tree holds None, booleans, numbers, strings, dtypes, lists, tuples, sets, deques, dictionaries (their keys may be
    numbers or tuples), NumPy's arrays and tensors; all come back with their type, tensors with their dtype and the
    order of their dimensions in memory, which last bits depend on. Raises NotStorable for anything else, DiskFull.
    """
    encoder = _Encoder()
    content = encoder.encode(tree, "")
    text = _json({"tree": content, "kinds": encoder.kinds, "forms": encoder.forms})
    entries, parts = _laid_out(encoder.tensors)
    metadata = {ABOUT: _json(about), TREE: text}
    metadata[DIGEST] = _digest(metadata, entries, parts)
    write_parts(path, [with_metadata(entries, metadata), *parts])


def read_tree(path: Path, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tree and the `about` of a file; tensors that were not on the CPU are on `device`.

    Raises UnreadableFile for a file that is not such a tree or is not as it was written, FileNotFoundError.
    """
    try:
        data = read_into_host(path, device).numpy().data
        header, start = split(data)
        metadata = header.pop("__metadata__")
        view = data[start:]
        known = metadata[DIGEST]
        if known != _digest({key: metadata[key] for key in (ABOUT, TREE)}, header, [view]):
            raise UnreadableFile("is not as it was written")
        flat = {name: _flat(view, name, entry) for name, entry in header.items()}
        content = json.loads(metadata[TREE])
        tree = _Decoder(content, flat, device).decode(content["tree"])
        about = json.loads(metadata[ABOUT])
    except UnreadableFile:
        raise
    except _DAMAGE as error:
        raise UnreadableFile("is torn or no state of a training") from error
    assert isinstance(tree, dict) and isinstance(about, dict), "the digest vouches for what was written"
    return tree, about


class _Encoder:
    """Turns a tree into JSON and collects its tensors by dtype."""

    def __init__(self) -> None:
        self.kinds: list[list[Any]] = []
        self.forms: list[Any] = []
        self.tensors: dict[str, list[Tensor]] = defaultdict(list)
        self._kind_numbers: dict[str, int] = {}
        self._form_numbers: dict[str, int] = {}

    def encode(self, value: Any, where: str) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": self._kind(value, where)}
        if isinstance(value, np.ndarray):
            return {"array": self._kind(_as_tensor(value, where), where)}
        if isinstance(value, Mapping):
            return self._mapping(value, where)
        items = contents_of(value)
        if items is not None:
            mark, content = items
            encoded = [self.encode(item, f"{where}[{index}]") for index, item in enumerate(content)]
            return encoded if mark == "list" else {mark: encoded}
        found = of_leaf(value)
        if found is None:
            raise NotStorable(f"{where.lstrip('.')} is a {type(value).__name__}")
        mark, content = found
        return content if mark == "" else {mark: content}

    def _mapping(self, value: Mapping[Any, Any], where: str) -> Any:
        encoded = {key: self.encode(item, f"{where}.{key}") for key, item in value.items()}
        if not all(map(is_key, encoded)):
            raise NotStorable(f"{where.lstrip('.')} has a key that is neither text nor a number")
        if all(isinstance(key, str) for key in encoded) and not set(encoded) & set(_MARKS):
            return self._form(encoded)
        return {"map": [[self.encode(key, where), item] for key, item in encoded.items()]}

    def _form(self, encoded: dict[str, Any]) -> Any:
        """A dictionary of tensors in short, if an equal one came before."""
        if not encoded or not all(isinstance(item, dict) and "tensor" in item for item in encoded.values()):
            return encoded
        number = self._form_numbers.setdefault(_json(encoded), len(self.forms))
        if number == len(self.forms):
            self.forms.append(encoded)
        return {"same": number}

    def _kind(self, value: Tensor, where: str) -> int:
        # A subclass has its bytes elsewhere, such as in several tensors of other dtypes.
        if type(value) not in (Tensor, nn.Parameter) or value.dtype not in _NAMES or value.layout != torch.strided:
            kind_of = value.dtype if type(value) in (Tensor, nn.Parameter) else type(value).__name__
            raise NotStorable(f"{where.lstrip('.')} is a tensor of {kind_of}")
        name, order = _NAMES[value.dtype], _order(value)
        self.tensors[name].append(value.detach().permute(order))
        place = "cpu" if value.device.type == "cpu" else "device"
        kind = [name, list(value.shape), place, *([] if order == sorted(order) else [order])]
        number = self._kind_numbers.setdefault(_json(kind), len(self.kinds))
        if number == len(self.kinds):
            self.kinds.append(kind)
        return number


class _Decoder:
    """Turns JSON back into the tree, taking the tensors in the order of the encoder."""

    def __init__(self, content: Mapping[str, Any], flat: Mapping[str, Tensor], device: torch.device) -> None:
        self._kinds, self._forms = content["kinds"], content["forms"]
        self._flat = flat
        self._device = device
        self._moved: dict[str, Tensor] = {}
        self._taken: dict[str, int] = defaultdict(int)

    def decode(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        mark = next(iter(value), None) if len(value) == 1 else None
        match mark:
            case "tensor":
                return self._tensor(*self._kinds[value["tensor"]])
            case "array":
                return self._tensor(*self._kinds[value["array"]]).clone().numpy()
            case "same":
                return self.decode(self._forms[value["same"]])
            case "map":
                return {self.decode(key): self.decode(item) for key, item in value["map"]}
            case str() if mark in CONTAINERS:
                return container(mark, [self.decode(item) for item in value[mark]])
            case str() if mark in LEAVES:
                return leaf(mark, value[mark])
            case _:
                return {key: self.decode(item) for key, item in value.items()}

    def _tensor(self, name: str, shape: Sequence[int], device: str, order: Sequence[int] | None = None) -> Tensor:
        start = self._taken[name]
        end = self._taken[name] = start + math.prod(shape)
        flat = self._flat[name] if device == "cpu" else self._on_device(name)
        if order is None:
            return flat[start:end].view(list(shape))
        stored = flat[start:end].view([shape[place] for place in order])
        return stored.permute([order.index(place) for place in range(len(order))])

    def _on_device(self, name: str) -> Tensor:
        """All tensors of a dtype on the device, moved when the first of them is asked for."""
        if name not in self._moved:
            self._moved[name] = on_device(self._flat[name], self._device)
        return self._moved[name]


def _laid_out(tensors: Mapping[str, Sequence[Tensor]]) -> tuple[dict[str, Any], list[memoryview]]:
    """The header's entries and the bytes of the tensors, the widest dtypes first so that all are aligned."""
    entries: dict[str, Any] = {}
    parts: list[memoryview] = []
    offset = 0
    for name in sorted(tensors, key=lambda name: (-ITEM_SIZES[name], name)):
        count = sum(value.numel() for value in tensors[name])
        end = offset + count * ITEM_SIZES[name]
        entries[name] = {"dtype": name, "shape": [count], "data_offsets": [offset, end]}
        parts += [_bytes_of(value) for value in on_host(tensors[name]) if value.numel()]
        offset = end
    return entries, parts


def _order(value: Tensor) -> list[int]:
    """The order in which a tensor's dimensions lie in memory; as they are named where they do not lie densely."""
    order = list(range(value.dim()))
    if value.is_contiguous():
        return order
    found = sorted(order, key=value.stride, reverse=True)
    return found if value.permute(found).is_contiguous() else order


def _as_tensor(value: np.ndarray[Any, Any], where: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(value, order="C"))
    except (TypeError, ValueError) as error:
        raise NotStorable(f"{where.lstrip('.')} is an array of {value.dtype}") from error


def _bytes_of(value: Tensor) -> memoryview:
    # A single number counts as contiguous with any stride.
    return value.contiguous().as_strided((value.numel(),), (1,)).view(torch.uint8).numpy().data


def _flat(view: memoryview, name: str, entry: Mapping[str, Any]) -> Tensor:
    start, end = entry["data_offsets"]
    if end == start:
        return torch.empty(0, dtype=_DTYPES[name])
    return torch.frombuffer(view[start:end], dtype=_DTYPES[name])


def _digest(metadata: Mapping[str, str], entries: Mapping[str, Any], parts: Iterable[memoryview]) -> str:
    digest = hashlib.sha256(json.dumps([metadata, entries], sort_keys=True).encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
