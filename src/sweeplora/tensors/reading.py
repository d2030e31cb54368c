"""Reads tensors from their files, one at a time, in file order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from mmap import ACCESS_COPY, mmap
from typing import Any

import torch
from torch import Tensor

from sweeplora.tensors.stored import ITEM_SIZES, Stored, UnreadableFile, contiguous

_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


def read_tensors(
    places: Mapping[str, Stored], device: torch.device, precision: torch.dtype = torch.float32
) -> Iterator[tuple[str, Tensor]]:
    """Read tensors one at a time in file order; floating-point tensors become `precision` on `device`.

    On the CPU, tensors that the file holds in that precision are not copied: their memory is the file's, mapped, which
    processes share. Writing to them changes this process' copy of a page, never the file.
    """
    ordered = sorted(places.items(), key=lambda item: (item[1].file, item[1].offset))
    for file, items in groupby(ordered, key=lambda item: item[1].file):
        mapped: mmap | None = None
        with file.open("rb") as stream:
            for name, stored in items:
                if device.type == "cpu" and _is_usable(stored, precision):
                    if mapped is None:
                        mapped = mmap(stream.fileno(), 0, access=ACCESS_COPY)
                    yield name, _in_place(stored, mapped)
                else:
                    stream.seek(stored.offset)
                    yield name, _placed(_tensor(stored, stream.readinto), device, precision)


def _is_usable(stored: Stored, precision: torch.dtype) -> bool:
    """Whether a tensor can be used where it lies in its file: of this precision, contiguous, at a whole element."""
    is_plain = stored.stride == contiguous(stored.shape) and stored.offset % ITEM_SIZES[stored.dtype] == 0
    return is_plain and _DTYPES[stored.dtype] == precision and stored.extent > 0


def _in_place(stored: Stored, mapped: mmap) -> Tensor:
    data = torch.frombuffer(mapped, dtype=torch.uint8, count=stored.extent, offset=stored.offset)
    return data.view(_DTYPES[stored.dtype]).view(stored.shape)


def _tensor(stored: Stored, read_into: Any) -> Tensor:
    data = torch.empty(stored.extent, dtype=torch.uint8)
    if read_into(data.numpy()) != stored.extent:
        raise UnreadableFile(f"{stored.file} was cut short while it was read")
    return data.view(_DTYPES[stored.dtype]).as_strided(stored.shape, stored.stride)


def _placed(tensor: Tensor, device: torch.device, precision: torch.dtype) -> Tensor:
    """A tensor on `device` in `precision`; integers keep their type."""
    return tensor.to(device, precision if tensor.is_floating_point() else tensor.dtype).contiguous()
