"""Writes a network's file: its tensors, and the metadata that web UIs read."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as serialize
from torch import Tensor

from sweeplora.rundir.files import write_whole
from sweeplora.tensors.safetensors_header import split, with_metadata

_EXACT = (".alpha", ".dora_scale")
_SMALL = 1 << 16
"""Numbers in a tensor up to which it is looked at together with others."""
_LEGACY_WINDOW = slice(0x100000, 0x110000)


class NotFinite(ValueError):
    """A tensor is not finite, or would overflow in the file's precision."""


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], dtype: torch.dtype) -> None:
    """Write `Network.state_dict()` atomically in the given precision; the path's suffix selects the format.

    alpha stays in float32: it is not a weight, and a LoKr's rank may exceed the range of half precision. DoRA's
    magnitude stays in float32 too: it is as large as the base's weights, and rounding it to half precision loses up
    to a quarter of a small update's change to it. A .safetensors file includes the metadata, with the hashes by
    which web UIs look files up (`sshs_*`). A .ckpt is a plain pickle of the tensors without metadata. Raises
    NotFinite for tensors that would not be finite in the file.
    """
    stored = {name: _stored(name, value, dtype) for name, value in tensors.items()}
    _check_finite(tensors, stored)
    if path.suffix == ".ckpt":
        buffer = io.BytesIO()
        torch.save({name: value.clone() for name, value in stored.items()}, buffer)  # a view saves its whole storage
        write_whole(path, buffer.getvalue())
    else:
        write_whole(path, _serialized(stored, metadata))


def _stored(name: str, value: Tensor, dtype: torch.dtype) -> Tensor:
    if name.endswith(_EXACT):
        return value.detach().to("cpu", torch.float32)
    return value.detach().to("cpu", dtype if value.is_floating_point() else value.dtype).contiguous()


def _check_finite(tensors: Mapping[str, Tensor], stored: Mapping[str, Tensor]) -> None:
    if _all_finite(stored.values()):
        return
    for name, value in stored.items():
        if not bool(value.isfinite().all()):
            largest = float(tensors[name].abs().max())
            if math.isfinite(largest):
                precision = str(value.dtype).removeprefix("torch.")
                raise NotFinite(f"{name} reaches {largest:.3g}, more than {precision} holds; save in bf16 or fp32")
            raise NotFinite(f"{name} is not finite")


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is finite; to ask one small tensor after the other takes longer than to write them."""
    small: dict[torch.dtype, list[Tensor]] = {}
    large: list[Tensor] = []
    for tensor in tensors:
        (large if tensor.numel() > _SMALL else small.setdefault(tensor.dtype, [])).append(tensor.flatten())
    joined = [torch.cat(flat) for flat in small.values()]
    return all(bool(flat.isfinite().all()) for flat in [*joined, *large])


def _serialized(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with its hashes and deterministic bytes; the library itself orders metadata randomly."""
    data = serialize(dict(tensors))
    header, start = split(data)
    content = memoryview(data)[start:]
    return with_metadata(header, {**metadata, **_hashes(header, content, metadata)}) + content


def _hashes(header: Mapping[str, Any], content: memoryview, metadata: Mapping[str, str]) -> dict[str, str]:
    """sha256 of the tensors' bytes, and eight digits of a hash over a window of the file with only `ss_` metadata.

    Defined by sd-webui-additional-networks; kohya's trainers precompute and store them in the same way.
    """
    hashed = with_metadata(header, {key: value for key, value in metadata.items() if key.startswith("ss_")})
    return {
        "sshs_model_hash": hashlib.sha256(content).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256((hashed + content)[_LEGACY_WINDOW]).hexdigest()[:8],
    }
