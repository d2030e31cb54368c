"""Tensors between a device and host memory: one transfer for each dtype, through pinned memory where there is a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

_MOST_BYTES = 256 << 20
"""The most that is gathered at a time on a device, whose memory may be short: all of a usual network's state."""


def host_memory(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Host memory [count] for transfers to and from `device`, not initialised; pinned if that is a GPU.

    torch keeps pinned memory that is no longer used for whoever asks next, so that only a process's first state waits
    for it.
    """
    return torch.empty(count, dtype=dtype, pin_memory=device.type == "cuda")


def read_into_host(path: Path, device: torch.device) -> Tensor:
    """A file's bytes in host memory for transfers to `device`; raises OSError."""
    with path.open("rb") as stream:
        data = host_memory(path.stat().st_size, torch.uint8, device)
        count = stream.readinto(data.numpy().data)
    return data[:count]


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors of one dtype in host memory: those of a device as views of one block, the others as they are."""
    found = list(tensors)
    places = [index for index, tensor in enumerate(tensors) if tensor.device.type != "cpu"]
    if not places:
        return found
    moved = [tensors[index] for index in places]
    block = host_memory(sum(tensor.numel() for tensor in moved), moved[0].dtype, moved[0].device)
    gather(moved, block)
    if moved[0].device.type == "cuda":
        torch.cuda.current_stream(moved[0].device).synchronize()
    for index, part in zip(places, block.split([tensor.numel() for tensor in moved]), strict=True):
        found[index] = part.view(tensors[index].shape)
    return found


def gather(tensors: Sequence[Tensor], block: Tensor, most_bytes: int = _MOST_BYTES) -> None:
    """Copy tensors of one dtype, one after the other, into a flat block; from a device the copy may still be under way.

    They are joined where they are, up to `most_bytes` at a time (a larger one alone), so that each such part is one
    transfer.
    """
    start = 0
    for part in _parts(tensors, most_bytes):
        joined = torch.cat([tensor.reshape(-1) for tensor in part])
        block[start : start + len(joined)].copy_(joined, non_blocking=True)
        start += len(joined)


def on_device(flat: Tensor, device: torch.device) -> Tensor:
    """Host memory in one transfer on `device`, complete when this returns; on the CPU as it is."""
    moved = flat.to(device, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return moved


def _parts(tensors: Sequence[Tensor], most_bytes: int) -> Iterator[list[Tensor]]:
    part: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if part and size + tensor.nbytes > most_bytes:
            yield part
            part, size = [], 0
        part.append(tensor)
        size += tensor.nbytes
    if part:
        yield part
