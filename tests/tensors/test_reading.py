"""Tensors used where they lie in their file, or converted one by one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sweeplora.tensors.find import find_tensors
from sweeplora.tensors.reading import read_tensors

CPU = torch.device("cpu")


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "wide": torch.randn(5, 7, generator=generator),
        "narrow": torch.randn(3, generator=generator).half(),
        "whole": torch.arange(4),
        "double": torch.randn(2, 2, generator=generator).double(),
    }


@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_numbers_are_those_of_the_file_in_the_wanted_precision(
    tensors: dict[str, torch.Tensor], precision: torch.dtype, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / f"x.{kind}"
    if kind == "safetensors":
        save_file(tensors, file)
    else:
        torch.save(tensors, file)
    found = dict(read_tensors(find_tensors(file), CPU, precision))
    for name, tensor in tensors.items():
        wanted = tensor.float().to(precision) if tensor.is_floating_point() else tensor
        assert found[name].dtype == wanted.dtype and torch.equal(found[name], wanted)


def test_a_tensor_of_the_wanted_precision_is_mapped_and_another_is_not(
    tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    places = find_tensors(file)
    found = dict(read_tensors(places, CPU, torch.float32))
    with file.open("r+b") as stream:
        for name in ("wide", "narrow"):
            stream.seek(places[name].offset)
            stream.write(bytes(places[name].extent))
    assert not found["wide"].any()
    assert torch.equal(found["narrow"], tensors["narrow"].float())


def test_writing_to_a_mapped_tensor_leaves_the_file_alone(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    before = file.read_bytes()
    for _, tensor in read_tensors(find_tensors(file), CPU, torch.float32):
        tensor.zero_()
    assert file.read_bytes() == before


def test_a_transposed_tensor_is_laid_out_anew(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(tensors, file)
    places = {"turned": find_tensors(file)["wide"].transposed()}
    ((_, found),) = read_tensors(places, CPU, torch.float32)
    assert torch.equal(found, tensors["wide"].T) and found.is_contiguous()
