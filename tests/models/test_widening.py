"""A half-precision model in float32: the numbers of the widened model, at the memory of one layer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sweeplora.models import eight_bits
from sweeplora.models.family import Family
from sweeplora.models.widening import widened
from tests.networks.models import moved, opened, predicted
from tests.networks.options import options


def half(kind: str, folder: Path) -> Family:
    family = opened(kind, folder)
    for part in (family.unet, *family.text_encoders):
        nn.Module.to(part, torch.bfloat16)
    return family


def in_float32(family: Family) -> Tensor:
    with family.in_float32():
        return predicted(family)


@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(options("locon", train_norm=True, text_encoders=True), id="locon"),
        pytest.param(options("dora"), id="dora"),
        pytest.param(options("loha"), id="loha", marks=pytest.mark.slow),
        pytest.param(options("lokr"), id="lokr", marks=pytest.mark.slow),
        pytest.param(options("glora"), id="glora", marks=pytest.mark.slow),
        pytest.param(options("full"), id="full", marks=pytest.mark.slow),
        pytest.param(options("ia3"), id="ia3", marks=pytest.mark.slow),
        pytest.param(options("diag-oft"), id="diag-oft", marks=pytest.mark.slow),
        pytest.param(options("tlora", dim=4), id="tlora", marks=pytest.mark.slow),
    ],
)
def test_the_numbers_are_those_of_the_model_widened_as_a_whole(algorithm: Any, tiny_model: Path) -> None:
    family = half("sdxl", tiny_model)
    parts = (family.unet, *family.text_encoders)
    before = {name: tensor for part in parts for name, tensor in part.named_parameters()}
    with moved(family, algorithm) as network:
        by_layer = in_float32(family)
        with network.merged():
            merged_by_layer = in_float32(family)
        after = {name: tensor for part in parts for name, tensor in part.named_parameters()}
        assert all(after[name] is before[name] for name in before)
        for part in parts:
            part.float()
        assert torch.equal(by_layer, predicted(family))
        with network.merged():
            assert torch.equal(merged_by_layer, predicted(family))


def test_eight_bits_and_the_other_family_give_the_same_numbers_too(tiny_sd15: Path) -> None:
    family = half("sd15", tiny_sd15)
    eight_bits.store(family.unet)
    by_layer = in_float32(family)
    for part in (family.unet, *family.text_encoders):
        part.float()
    assert torch.equal(by_layer, predicted(family))


def test_no_more_than_one_layer_is_wide_at_a_time(tiny_model: Path) -> None:
    family = half("sdxl", tiny_model)
    parts = (family.unet, *family.text_encoders)
    wide: list[int] = []

    def count(*_: Any) -> None:
        tensors = (tensor for part in parts for tensor in part.parameters() if tensor.dtype == torch.float32)
        wide.append(sum(tensor.nbytes for tensor in tensors))

    largest, whole = 0, 0
    with family.in_float32():
        for part in parts:
            for layer in part.modules():
                layer.register_forward_pre_hook(count)
                size = 4 * sum(parameter.numel() for parameter in layer.parameters(recurse=False))
                largest, whole = max(largest, size), whole + size
        predicted(family)
    assert 0 < max(wide) <= largest < whole / 10


def test_a_layer_that_fails_is_narrow_again() -> None:
    layer = nn.Linear(4, 4).bfloat16()
    weight = layer.weight
    with widened(layer):
        with pytest.raises(RuntimeError):
            layer(torch.ones(1, 5))
        assert layer.weight is weight
        assert layer(torch.ones(1, 4)).dtype == torch.float32
    assert layer.weight is weight and layer.weight.dtype == torch.bfloat16


def test_a_compiled_model_gives_the_numbers_of_the_uncompiled_one(tiny_model: Path) -> None:
    family = half("sdxl", tiny_model)
    expected = in_float32(family)
    family.unet.compile(backend="eager")
    assert torch.equal(in_float32(family), expected)


def test_text_encoders_that_nothing_has_used_before_count_in_float32_too(tiny_model: Path) -> None:
    family, whole = opened("sdxl", tiny_model), opened("sdxl", tiny_model)
    family.place("text_encoders", torch.device("cpu"), torch.bfloat16)
    assert not any(name.startswith("text") for name in family.held())
    with family.in_float32():
        first = family.encode_text(["a red shape"])
    for encoder in whole.text_encoders:
        nn.Module.to(encoder, torch.bfloat16).float()
    assert torch.equal(first.hidden, whole.encode_text(["a red shape"]).hidden)
