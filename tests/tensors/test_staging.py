"""Tensors reach host memory and a device in blocks, in the same bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sweeplora.tensors.staging import gather, on_host, read_into_host
from sweeplora.tensors.tree import read_tree, write_tree

CPU = torch.device("cpu")
GPU = torch.device("cuda")
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.int16, torch.uint8)


def any_bits(dtype: torch.dtype, *shape: int) -> Tensor:
    """Every kind of bits, those of no number and of negative zero too."""
    width = torch.empty(0, dtype=dtype).element_size()
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (*shape[:-1], shape[-1] * width), dtype=torch.uint8, generator=generator).view(dtype)


def bits(tensor: Tensor) -> bytes:
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def tensors_of(dtype: torch.dtype) -> list[Tensor]:
    whole = any_bits(dtype, 6, 10)
    return [whole, whole.t(), whole[1::2, 3:], whole[0, 0], any_bits(dtype, 0), any_bits(dtype, 2, 3, 4)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("most_bytes", [1, 100, 1 << 20])
def test_a_block_holds_the_bits_of_its_tensors_one_after_the_other(dtype: torch.dtype, most_bytes: int) -> None:
    tensors = tensors_of(dtype)
    block = torch.empty(sum(tensor.numel() for tensor in tensors), dtype=dtype)
    gather(tensors, block, most_bytes)
    assert bits(block) == b"".join(map(bits, tensors))


def test_what_is_in_host_memory_is_not_copied() -> None:
    tensors = tensors_of(torch.float32)
    assert all(one is other for one, other in zip(on_host(tensors), tensors, strict=True))


def test_a_files_bytes_are_read_as_they_are(tmp_path: Path) -> None:
    for content in (b"", b"\x00\xff\x80" * 1000):
        (tmp_path / "f").write_bytes(content)
        assert bits(read_into_host(tmp_path / "f", CPU)) == content


@pytest.mark.gpu
def test_a_state_of_a_gpu_comes_back_on_it_in_its_bits(tmp_path: Path) -> None:
    tensors = {str(dtype): [tensor.to(GPU) for tensor in tensors_of(dtype)] for dtype in DTYPES}
    steps = {str(dtype): any_bits(dtype, 1) for dtype in DTYPES}
    write_tree(tmp_path / "state", {"tensors": tensors, "steps": steps}, {})
    found, _ = read_tree(tmp_path / "state", GPU)
    for name, step in steps.items():
        assert found["steps"][name].device.type == "cpu" and bits(found["steps"][name]) == bits(step)
        for one, other in zip(found["tensors"][name], tensors[name], strict=True):
            assert one.device.type == "cuda" and one.shape == other.shape and bits(one) == bits(other)


@pytest.mark.gpu
def test_a_gpus_tensors_share_one_pinned_block() -> None:
    found = on_host([tensor.to(GPU) for tensor in tensors_of(torch.float32)])
    assert len({tensor.untyped_storage().data_ptr() for tensor in found}) == 1 and found[0].is_pinned()
