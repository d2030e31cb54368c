"""A base in 8 bits: half the memory, the same weights in every precision, gradients through it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.models import eight_bits
from sweeplora.models.family import Family, Text
from sweeplora.networks.network import attach
from tests.networks.conftest import load
from tests.networks.options import options


def layers() -> nn.Sequential:
    torch.manual_seed(3)
    made = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1, stride=2), nn.GroupNorm(2, 8), nn.Conv2d(8, 6, 1, groups=2), nn.Flatten(2)
    )
    made.append(nn.Linear(16, 5, bias=False)).append(nn.LayerNorm(5))
    return made.requires_grad_(False)


def small_unet(dtype: torch.dtype) -> UNet2DConditionModel:
    torch.manual_seed(4)
    unet: UNet2DConditionModel = UNet2DConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=8,
        cross_attention_dim=64,
    )
    return nn.Module.to(unet.requires_grad_(False), dtype)


def num_bytes(model: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])


def widened(model: nn.Module) -> dict[str, Tensor]:
    kinds = eight_bits.Linear | eight_bits.Conv2d
    return {name: layer.weight for name, layer in model.named_modules() if isinstance(layer, kinds)}


def reference(values: Tensor) -> Tensor:
    """The nearest of all 8-bit numbers times the channel's power of two, found by looking at every one of them."""
    numbers = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    numbers = numbers[numbers.isfinite()]
    rows = []
    for row in values.flatten(1).double():
        scale = 2.0 ** torch.floor(torch.log2(row.abs().max() / 448)).add(1)
        distances = (row[:, None] / scale - numbers).abs()
        rows.append(numbers[distances.argmin(1)] * scale)
    return torch.stack(rows).view(values.shape).float()


def test_every_weight_is_the_nearest_that_8_bits_can_say() -> None:
    model = layers()
    exact = {name: layer.weight.clone() for name, layer in model.named_children() if isinstance(layer, nn.Conv2d)}
    exact["4"] = model[4].weight.clone()
    eight_bits.store(model)
    found = widened(model)
    assert found.keys() == exact.keys()
    for name, weight in exact.items():
        difference = (found[name] - weight).abs() - (reference(weight) - weight).abs()
        assert float(difference.abs().max()) < 1e-8


def test_a_model_of_16_bits_takes_half_the_memory() -> None:
    unet = small_unet(torch.bfloat16)
    before = num_bytes(unet)
    eight_bits.store(unet)
    assert num_bytes(unet) < 0.53 * before
    assert all(layer.weight.dtype == torch.bfloat16 for layer in unet.modules() if isinstance(layer, nn.GroupNorm))


def test_the_prediction_is_that_of_the_widened_weights() -> None:
    unet, plain = small_unet(torch.float32), small_unet(torch.float32)
    eight_bits.store(unet)
    for name, weight in widened(unet).items():
        plain.get_submodule(name).weight.copy_(weight)
    inputs = (torch.randn(2, 4, 8, 8), torch.tensor([3, 900]), torch.randn(2, 7, 64))
    torch.testing.assert_close(unet(*inputs).sample, plain(*inputs).sample)


def test_widening_to_32_bits_and_back_changes_no_weight() -> None:
    unet = small_unet(torch.bfloat16)
    eight_bits.store(unet)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    narrow = widened(unet)
    dtype = next(unet.parameters()).dtype
    assert dtype == unet.dtype == torch.bfloat16
    unet.float()
    wide = widened(unet)
    assert unet.dtype == torch.float32 and all(weight.dtype == torch.float32 for weight in wide.values())
    assert all(torch.equal(wide[name], weight.float()) for name, weight in narrow.items())
    nn.Module.to(unet, dtype)
    after = unet.state_dict()
    assert all(
        torch.equal(after[name], tensor) and after[name].dtype == tensor.dtype for name, tensor in before.items()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_weight_is_the_same_number_in_every_precision(dtype: torch.dtype) -> None:
    model = layers()
    eight_bits.store(model)
    exact = widened(model)
    assert all(torch.equal(weight.float(), exact[name]) for name, weight in widened(model.to(dtype)).items())


def test_gradients_pass_through_without_a_widened_weight_being_kept() -> None:
    model, plain = layers(), layers()
    eight_bits.store(model)
    for name, weight in widened(model).items():
        plain.get_submodule(name).weight.copy_(weight)
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    gradients = []
    for one in (model, plain):
        x = torch.sin(torch.arange(2 * 4 * 8 * 8.0)).view(2, 4, 8, 8).requires_grad_()
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            output = one(x)
        shapes = {tuple(tensor.shape) for tensor in kept if tensor.dtype == torch.float32}
        assert ((8, 4, 3, 3) in shapes) == (one is plain)
        (output * torch.cos(torch.arange(output.numel()).view(output.shape))).sum().backward()
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


def test_autocast_decides_the_precision_of_the_product() -> None:
    model = layers()
    eight_bits.store(model)
    with torch.autocast("cpu", torch.bfloat16):
        assert model[0](torch.randn(1, 4, 8, 8)).dtype == torch.bfloat16
    assert model[0](torch.randn(1, 4, 8, 8)).dtype == torch.float32
    assert model[4](torch.randn(2, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_an_adapter_wraps_a_layer_in_8_bits_and_is_taken_off_again() -> None:
    model = layers()
    eight_bits.store(model)
    layer, x = model[4], torch.randn(2, 16)
    base, own = layer.forward, layer(x)
    change = torch.randn(5, 16) * 0.1
    layer.forward = lambda x: base(x) + F.linear(x, change)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight + change))
    del layer.forward
    assert torch.equal(layer(x), own)


def test_small_weights_survive_that_a_plain_cast_would_lose() -> None:
    layer = nn.Linear(64, 8)
    model = nn.Sequential(layer)
    torch.nn.init.normal_(layer.weight, std=0.003)
    exact = layer.weight.detach().clone()
    plain = (exact.to(eight_bits.KIND).float() - exact).norm() / exact.norm()
    eight_bits.store(model)
    ours = (model[0].weight - exact).norm() / exact.norm()
    assert float(ours) < 0.03
    assert float(plain) > 0.1


@pytest.fixture(scope="module")
def narrow_and_wide(tiny_model: Path) -> tuple[Family, Family]:
    """The tiny model with its U-Net in 8 bits, and with the same weights widened."""
    narrow, wide = load(tiny_model), load(tiny_model)
    eight_bits.store(narrow.unet)
    for name, weight in widened(narrow.unet).items():
        wide.unet.get_submodule(name).weight.copy_(weight)
    return narrow, wide


@pytest.mark.parametrize("kind", ["locon", "full", "dora"])
def test_networks_train_on_8_bits_as_on_the_widened_weights(kind: str, narrow_and_wide: tuple[Family, Family]) -> None:
    outputs, gradients = [], []
    for family in narrow_and_wide:
        network = attach(family, options(kind), 7)
        generator = torch.Generator().manual_seed(3)
        for one in network.trained():
            one.parameter.data += torch.randn(one.parameter.shape, generator=generator) * 0.02
        text = Text(torch.ones(1, 7, 80), torch.ones(1, 24))
        latents = torch.sin(torch.arange(4 * 64.0)).view(1, 4, 8, 8)
        outputs.append(family.predict(latents, torch.tensor([500]), text, torch.ones(1, 6)))
        outputs[-1].square().mean().backward()
        gradients.append(torch.cat([one.parameter.grad.flatten() for one in network.trained()]))
        network.detach()
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)
