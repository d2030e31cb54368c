"""A network on a model: nothing at first, nothing at strength 0, the right layers, and the right sums."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy

import pytest
import torch
from lycoris.modules.locon import LoConModule
from torch import Tensor, nn
from torch.nn import functional as F

from sweeplora.errors import UserError
from sweeplora.models.sdxl import SDXL
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.lycoris import PARTS, Adapter, Network, attach
from sweeplora.networks.modules import Drop, make, update
from tests.networks.conftest import Predict
from tests.networks.options import options

ALGORITHMS: dict[str, Algorithm] = {
    "locon": options("locon"),
    "locon-tucker-scalar": options("locon", use_tucker=True, use_scalar=True),
    "locon-rs-conv": options("locon", rs_lora=True, conv_dim=2, conv_alpha=1.0),
    "dora": options("locon", dora=True),
    "loha": options("loha"),
    "loha-tucker-scalar": options("loha", use_tucker=True, use_scalar=True),
    "loha-dora": options("loha", dora=True),
    "lokr": options("lokr", dim=2, alpha=1.0),
    "lokr-both-tucker": options("lokr", dim=2, alpha=1.0, factor=4, decompose_both=True, use_tucker=True),
    "lokr-full": options("lokr", full_matrix=True, use_scalar=True),
    "lokr-dora": options("lokr", dora=True),
}


@contextmanager
def attached(model: SDXL, algorithm: Algorithm, seed: int = 0) -> Iterator[Network]:
    network = attach(model, algorithm, seed)
    network.train(False)
    try:
        yield network
    finally:
        network.detach()


def move(network: Network, size: float = 0.05) -> None:
    """Stand in for a training: every parameter moves."""
    generator = torch.Generator().manual_seed(3)
    for part in PARTS:
        for parameter in network.parameters(part):
            parameter.data += size * torch.randn(parameter.shape, generator=generator)


def adapter(algorithm: Algorithm, layer: nn.Linear | nn.Conv2d) -> Adapter:
    torch.manual_seed(0)
    made = Adapter(make(algorithm, "key", layer.requires_grad_(False)), layer, algorithm)
    for parameter in made.module.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_new_network_changes_no_bit(kind: str, model: SDXL, predict: Predict) -> None:
    before = predict()
    with attached(model, ALGORITHMS[kind]):
        assert torch.equal(predict(), before)


@pytest.mark.parametrize("kind", ["locon", "dora", "loha", "lokr"])
def test_strength_zero_and_detaching_give_the_base_back(kind: str, model: SDXL, predict: Predict) -> None:
    before = predict()
    with attached(model, ALGORITHMS[kind]) as network:
        move(network)
        whole = predict()
        assert (whole - before).abs().max() > 0.05
        network.set_strength(0.5)
        assert not torch.equal(predict(), whole)
        network.set_strength(0)
        assert torch.equal(predict(), before)
        network.set_strength(1)
        assert torch.equal(predict(), whole)
    assert torch.equal(predict(), before)


@pytest.mark.parametrize(
    ("preset", "encoders", "count"),
    [
        ("full", True, 287),
        ("full", False, 263),
        ("unet-only", False, 263),
        ("attn-mlp", False, 192),
        ("attn-only", True, 152),
    ],
)
def test_presets_put_adapters_on_their_layers(preset: str, encoders: bool, count: int, model: SDXL) -> None:
    with attached(model, options("locon", preset=preset, text_encoders=encoders)) as network:
        assert len(network.modules) == count
        assert bool(network.parameters("text_encoder")) == encoders
        assert all(isinstance(module, LoConModule) for module in network.modules.values())
        assert {name.partition(".")[0] for name in network.state_dict()} == set(network.modules)


def test_initial_values_depend_on_seed_and_key_alone(model: SDXL) -> None:
    with attached(model, options("locon")) as network:
        whole = network.state_dict()
    torch.manual_seed(99)
    with attached(model, options("locon", preset="attn-only")) as network:
        part = network.state_dict()
    with attached(model, options("locon", preset="attn-only"), seed=1) as network:
        other = network.state_dict()
    downs = [name for name in part if name.endswith("lora_down.weight")]
    assert all(torch.equal(whole[name], part[name]) for name in part)
    assert not any(torch.equal(part[name], other[name]) for name in downs)
    # Two layers of one shape start apart.
    twins = [whole[f"lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_{c}.lora_down.weight"] for c in "qk"]
    assert not torch.equal(*twins)


def test_attaching_draws_nothing_from_torchs_generator(model: SDXL) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with attached(model, options("locon")):
        assert torch.equal(torch.rand(3), expected)


LAYERS: dict[str, tuple[nn.Linear | nn.Conv2d, tuple[int, ...]]] = {
    "linear": (nn.Linear(24, 40), (5, 24)),
    "linear-large": (nn.Linear(320, 640), (2, 3, 320)),
    "conv": (nn.Conv2d(8, 12, 3, padding=1), (2, 8, 9, 7)),
    "conv-strided": (nn.Conv2d(8, 12, 3, stride=2, padding=1), (2, 8, 9, 7)),
    "conv-large": (nn.Conv2d(96, 128, 3, padding=1), (2, 96, 5, 4)),
    "conv-1x1": (nn.Conv2d(8, 12, 1), (2, 8, 4, 4)),
}


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", ["locon", "locon-tucker-scalar", "loha-tucker-scalar", "lokr", "lokr-both-tucker"])
def test_output_and_gradients_are_those_of_the_weight_plus_its_update(kind: str, shape: str) -> None:
    layer, size = LAYERS[shape]
    made = adapter(ALGORITHMS[kind], layer)
    parameters = list(made.module.parameters())
    x = torch.randn(size, requires_grad=True)
    output = layer(x)
    made.detach()
    weight = layer.weight + update(made.module)
    if isinstance(layer, nn.Linear):
        expected = F.linear(x, weight, layer.bias)
    else:
        expected = F.conv2d(x, weight, layer.bias, layer.stride, (layer.kernel_size[0] // 2,) * 2)
    torch.testing.assert_close(output, expected, rtol=2e-5, atol=2e-5)
    ours = torch.autograd.grad(output.square().sum(), [x, *parameters])
    theirs = torch.autograd.grad(expected.square().sum(), [x, *parameters])
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3 * float(other.abs().max()))


def test_the_updates_are_the_papers() -> None:
    layer = nn.Linear(24, 40)
    locon = adapter(options("locon", dim=8, alpha=2.0), layer).module
    torch.testing.assert_close(update(locon), 2 / 8 * locon.lora_up.weight @ locon.lora_down.weight)
    root = adapter(options("locon", dim=8, alpha=2.0, rs_lora=True), layer).module
    torch.testing.assert_close(update(root), 2 / 8**0.5 * root.lora_up.weight @ root.lora_down.weight)
    loha = adapter(options("loha", dim=4, alpha=2.0), layer).module
    product = (loha.hada_w1_a @ loha.hada_w1_b) * (loha.hada_w2_a @ loha.hada_w2_b)
    torch.testing.assert_close(update(loha), 2 / 4 * product)
    lokr = adapter(options("lokr", dim=2, alpha=1.0, factor=4), layer).module
    kronecker = torch.kron(lokr.lokr_w1, lokr.lokr_w2_a @ lokr.lokr_w2_b)
    torch.testing.assert_close(update(lokr), 1 / 2 * kronecker)
    whole = adapter(options("lokr", dim=100000, alpha=1.0, rs_lora=True), layer).module
    torch.testing.assert_close(update(whole), torch.kron(whole.lokr_w1, whole.lokr_w2))


@pytest.mark.parametrize("layer", [nn.Linear(24, 40), nn.Conv2d(8, 12, 3, padding=1)])
def test_dora_sets_the_norm_of_every_input_channel(layer: nn.Linear | nn.Conv2d) -> None:
    made = adapter(options("locon", dora=True), layer)
    x = torch.randn(2, 24) if isinstance(layer, nn.Linear) else torch.randn(2, 8, 6, 6)
    output = layer(x)
    made.detach()
    direction = layer.weight + update(made.module)
    axes = [axis for axis in range(direction.dim()) if axis != 1]
    weight = direction / direction.square().sum(axes, keepdim=True).sqrt() * made.module.dora_scale
    expected = F.linear(x, weight, layer.bias) if x.dim() == 2 else F.conv2d(x, weight, layer.bias, padding=1)
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["locon", "dora", "loha", "lokr", "lokr-full"])
@pytest.mark.parametrize("autocast", [False, True])
def test_a_half_precision_base_keeps_small_updates(kind: str, autocast: bool) -> None:
    """An update far below the weight's own rounding moves the output by what it does in float32."""
    layer = nn.Linear(64, 64)
    layer.weight.data.fill_(1.0)
    module_input = torch.randn(4, 64).to(torch.bfloat16)
    outputs = []
    for dtype in (torch.float32, torch.bfloat16):
        made = adapter(ALGORITHMS[kind], layer.to(dtype))
        for parameter in made.module.parameters():
            if parameter is not getattr(made.module, "dora_scale", None):
                parameter.data *= 0.1
        x = module_input.to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast and dtype == torch.bfloat16):
            output = made.forward(x)
        made.detach()
        outputs.append(output.float() - F.linear(module_input.float(), layer.weight.float(), layer.bias.float()))
    assert output.dtype == torch.bfloat16
    # bfloat16 has 8 bits, and the base's output of about 8 is rounded to 1/32.
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0.05, atol=0.07)


def silenced(algorithm: Algorithm, draws: int = 200) -> list[Tensor]:
    """Outputs of an adapter in training, drawn over and over."""
    layer = nn.Linear(24, 40)
    made = adapter(algorithm, layer)
    made.module.train(True)
    x = torch.randn(3, 24)
    base = F.linear(x, layer.weight, layer.bias)
    return [layer(x).detach() - base for _ in range(draws)]


def test_module_dropout_leaves_out_whole_layers_at_its_rate() -> None:
    outputs = silenced(options("locon", module_dropout=0.3))
    left_out = sum(float(output.abs().max()) < 1e-6 for output in outputs) / len(outputs)
    assert 0.2 < left_out < 0.4


@pytest.mark.parametrize("kind", ["loha", "lokr"])
def test_rank_dropout_of_a_rebuilt_weight_silences_rows(kind: str) -> None:
    outputs = torch.stack(silenced(options(kind, rank_dropout=0.25)))
    rows = (outputs.abs() < 1e-6).all(1)
    assert 0.2 < float(rows.float().mean()) < 0.3


def test_rank_dropout_of_a_locon_silences_ranks() -> None:
    """With one rank it silences all or nothing, and with dropout in evaluation nothing."""
    outputs = silenced(options("locon", dim=1, alpha=1.0, rank_dropout=0.25))
    silent = sum(float(output.abs().max()) < 1e-6 for output in outputs) / len(outputs)
    assert 0.15 < silent < 0.35
    layer = nn.Linear(24, 40)
    made = adapter(options("locon", rank_dropout=0.9, dropout=0.9, module_dropout=0.9), layer)
    made.module.train(False)
    x = torch.randn(3, 24)
    torch.testing.assert_close(layer(x), F.linear(x, layer.weight + update(made.module), layer.bias))


def test_neuron_dropout_zeroes_and_scales_up() -> None:
    outputs = torch.stack(silenced(options("locon", dropout=0.5)))
    assert 0.45 < float((outputs.abs() < 1e-6).float().mean()) < 0.55
    whole = silenced(options("locon"), draws=1)[0]
    torch.testing.assert_close(outputs.mean(0), whole, atol=0.3 * float(whole.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", ["locon-tucker-scalar", "loha", "lokr", "dora"])
def test_trained_tensors_go_on_exactly(kind: str, model: SDXL, predict: Predict) -> None:
    algorithm = ALGORITHMS[kind]
    with attached(model, algorithm) as network:
        move(network)
        kept = {name: value.clone() for name, value in network.trained_tensors().items()}
        expected = predict()
    with attached(model, algorithm, seed=8) as network:
        network.load_trained_tensors(kept)
        assert torch.equal(predict(), expected)
        del kept[next(iter(kept))]
        with pytest.raises(ValueError, match="1 tensors are not of this network"):
            network.load_trained_tensors(kept)


def test_gradients_reach_every_parameter_of_the_unet(model: SDXL) -> None:
    with attached(model, options("locon", use_scalar=True, text_encoders=True)) as network:
        move(network)
        text = model.encode_text(["red apple"])
        sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]])
        loss = model.predict(torch.randn(1, 4, 16, 16), torch.tensor([300]), text, sizes).square().mean()
        torch.autograd.backward(loss)
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters("unet"))
        without = {key for key, m in network.modules.items() if any(p.grad is None for p in m.parameters())}
    # SDXL takes the first encoder's last layer but one: its last layer has no say.
    assert all(key.startswith("lora_te1_text_model_encoder_layers_1_") for key in without)
    assert all(p.grad is None and not p.requires_grad for p in model.unet.parameters())


def test_a_preset_that_selects_nothing_is_refused(model: SDXL) -> None:
    bare = copy(model)
    bare.unet = nn.ModuleDict({"conv_in": nn.Conv2d(4, 8, 3)})  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"network\.preset=attn-only"):
        attach(bare, options("locon", preset="attn-only"), 0)


@pytest.mark.parametrize("name", ["loha", "lokr-both-tucker", "dora", "loha-dora"])
def test_a_small_update_survives_half_precision(name: str) -> None:
    """What an update this small adds must not drown in the rounding of the weight that it is added to."""
    whole, half = nn.Linear(64, 48), nn.Linear(64, 48).to(torch.bfloat16)
    half.load_state_dict(whole.state_dict())
    whole.load_state_dict(half.state_dict())
    added = []
    for layer in (whole, half):
        torch.manual_seed(0)
        module = make(ALGORITHMS[name], "lora_unet_x", layer)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.02)
        adapter = Adapter(module, layer, ALGORITHMS[name])
        with torch.autocast("cpu", torch.bfloat16, enabled=layer is half), torch.no_grad():
            added.append(adapter._change(Drop(0.0, 0.0)).float())
    assert float((added[1] - added[0]).norm() / added[0].norm()) < 0.01
