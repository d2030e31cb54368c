"""Kinds of attention give the same numbers, and go through the layers that adapters wrap."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from sweeplora.errors import UserError
from sweeplora.models import attention, attention_processors

LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(1)
    return UNet2DConditionModel(
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(2, 4),
        norm_num_groups=8,
        cross_attention_dim=24,
    ).requires_grad_(False)


def predict(unet: UNet2DConditionModel, noisy: Tensor) -> Tensor:
    text = torch.sin(torch.arange(2 * 77 * 24.0)).view(2, 77, 24)
    output: Tensor = unet(noisy, torch.tensor([10, 900]), text, return_dict=False)[0]
    return output


def noisy() -> Tensor:
    return torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(2)).requires_grad_()


@pytest.mark.parametrize("length", [7, 64, 1024])
def test_sliced_gives_the_numbers_and_gradients_of_the_kernel(
    length: int, unet: UNet2DConditionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention_processors, "_SLICE", length)
    inputs = [noisy(), noisy()]
    outputs = [predict(unet, inputs[0])]
    attention_processors.apply(unet, "sliced")
    outputs.append(predict(unet, inputs[1]))
    for output in outputs:
        (output * torch.cos(torch.arange(output.numel()).view(output.shape))).sum().backward()
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)


def test_the_kernel_gives_what_diffusers_computes_to_the_last_bit(unet: UNet2DConditionModel) -> None:
    inputs = [noisy(), noisy()]
    unet.set_attn_processor(AttnProcessor2_0())
    outputs = [predict(unet, inputs[0])]
    attention_processors.apply(unet, "sdpa")
    outputs.append(predict(unet, inputs[1]))
    found = [torch.autograd.grad(one.square().sum(), x)[0] for one, x in zip(outputs, inputs, strict=True)]
    assert torch.equal(*outputs)
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", ["sdpa", "sliced"])
def test_every_kind_calls_the_layers_that_adapters_wrap(kind: attention.Kind, unet: UNet2DConditionModel) -> None:
    attention_processors.apply(unet, kind)
    layers = {name: layer for name, layer in unet.named_modules() if name.endswith(LAYERS)}
    assert len(layers) == 4 * 2 * 4
    called = []

    def wrap(name: str, layer: Any) -> None:
        base = layer.forward

        def noted(x: Any) -> Any:
            called.append(name)
            return base(x)

        layer.forward = noted

    for name, layer in layers.items():
        wrap(name, layer)
    predict(unet, noisy())
    assert sorted(called) == sorted(layers)


def test_sliced_never_holds_all_scores() -> None:
    sizes: list[int] = []
    query, key = torch.randn(1, 2, 4096, 4, requires_grad=True), torch.randn(1, 2, 512, 4)

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        attention_processors.in_slices(query, key, key)
    assert max(sizes, default=0) <= query.numel()


@pytest.mark.skipif(importlib.util.find_spec("xformers") is not None, reason="xformers is installed")
def test_xformers_is_refused_where_it_is_not_installed() -> None:
    with pytest.raises(UserError, match=r"model\.attention=xformers: the package is not installed"):
        attention.check("xformers")


def test_what_torch_has_itself_is_never_refused() -> None:
    attention.check("sdpa")
    attention.check("sliced")
