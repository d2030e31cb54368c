"""A network on a model: nothing at first, nothing at strength 0, the right layers, and the right sums."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris.modules.locon import LoConModule
from torch import Tensor, nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.network import PARTS, Network, attach
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
    "dylora": options("dylora"),
    "glora": options("glora"),
    "tlora": options("tlora", dim=4),
    "full": options("full"),
    "ia3": options("ia3"),
    "diag-oft": options("diag-oft", rescaled=True),
    "boft": options("boft"),
    "norms": options("locon", train_norm=True, text_encoders=True),
}

_QUICKLY_MERGED = ("dora", "full", "norms")


@contextmanager
def attached(model: Family, algorithm: Algorithm, seed: int = 0) -> Iterator[Network]:
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


@pytest.mark.parametrize("kind", ALGORITHMS)
def test_a_new_network_changes_no_bit(kind: str, model: Family, predict: Predict) -> None:
    before = predict()
    with attached(model, ALGORITHMS[kind]):
        assert torch.equal(predict(), before)


@pytest.mark.parametrize("kind", ["locon", "dora", "loha", "lokr", "glora", "full", "boft", "norms"])
def test_strength_zero_and_detaching_give_the_base_back(kind: str, model: Family, predict: Predict) -> None:
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
    "kind",
    [
        kind
        if kind in _QUICKLY_MERGED
        else pytest.param(kind, marks=pytest.mark.slow)  # tests/networks/adapters has all
        for kind in ALGORITHMS
    ],
)
def test_a_merged_network_predicts_the_same_and_leaves_the_base_as_it_was(
    kind: str, model: Family, predict: Predict
) -> None:
    parts = (model.unet, *model.text_encoders)
    before = [tensor.clone() for part in parts for tensor in part.state_dict().values()]
    with attached(model, ALGORITHMS[kind]) as network:
        move(network)
        unmerged = predict()
        with network.merged():
            merged = predict()
            assert all(torch.equal(*pair) for pair in zip(before, _tensors(parts), strict=True))
        assert (merged - unmerged).abs().max() < 2e-5 * unmerged.abs().max()
        assert torch.equal(predict(), unmerged)
    assert all(torch.equal(*pair) for pair in zip(before, _tensors(parts), strict=True))


def _tensors(parts: Sequence[nn.Module]) -> list[Tensor]:
    return [tensor for part in parts for tensor in part.state_dict().values()]


def test_layers_beyond_the_memory_for_merging_compute_their_update_in_every_pass(
    model: Family, predict: Predict
) -> None:
    with attached(model, options("locon", bypass_mode=True)) as network:
        move(network)
        unmerged = predict()
        with network.merged():
            whole = predict()
        with network.merged(most_bytes=0):
            assert torch.equal(predict(), unmerged)
        with network.merged(most_bytes=1 << 20):
            part = predict()
    assert len({hash(tuple(one.flatten().tolist())) for one in (whole, part, unmerged)}) == 3


@pytest.mark.parametrize(
    ("preset", "encoders", "count"),
    [
        ("full", True, 287),
        ("full", False, 263),
        ("unet-only", False, 263),
        ("attn-mlp", False, 192),
        ("attn-only", True, 152),
        ("full-lin", False, 263 - 40),
        ("unet-transformer-only", False, 192),
    ],
)
def test_presets_put_adapters_on_their_layers(preset: str, encoders: bool, count: int, model: Family) -> None:
    with attached(model, options("locon", preset=preset, text_encoders=encoders)) as network:
        assert len(network.modules) == count
        assert bool(network.parameters("text_encoder")) == encoders
        assert all(isinstance(module, LoConModule) for module in network.modules.values())
        assert {name.partition(".")[0] for name in network.state_dict()} == set(network.modules)


def test_initial_values_depend_on_seed_and_key_alone(model: Family) -> None:
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


def test_attaching_draws_nothing_from_torchs_generator(model: Family) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with attached(model, options("locon")):
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["locon-tucker-scalar", "loha", "lokr", "dora", "tlora", "norms"])
def test_trained_tensors_go_on_exactly(kind: str, model: Family, predict: Predict) -> None:
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


def test_gradients_reach_every_parameter_of_the_unet(model: Family) -> None:
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


def holding(model: Family, unet: nn.Module) -> Family:
    """The same model with another denoising network."""
    other = copy(model)
    other.__class__ = type("Changed", (type(model),), {"unet": unet})
    return other


def test_a_preset_that_selects_nothing_is_refused(model: Family) -> None:
    bare = holding(model, nn.ModuleDict({"conv_in": nn.Conv2d(4, 8, 3)}))
    with pytest.raises(UserError, match=r"network\.preset=attn-only"):
        attach(bare, options("locon", preset="attn-only"), 0)


def test_the_text_encoders_can_train_alone(model: Family) -> None:
    with attached(model, options("locon", unet=False, text_encoders=True)) as network:
        assert {one.part for one in network.trained()} == {"text_encoder", "text_encoder_2"}
        assert network.parameters("unet") == []
        assert len(network.parameters("text_encoder")) == 2 * 24


def test_what_trains_is_told_with_its_part_block_and_loraplus_factor(model: Family) -> None:
    with attached(model, options("locon", text_encoders=True, train_norm=True)) as network:
        told = network.trained()
        assert len(told) == len({id(one.parameter) for one in told}) == len(network.trained_tensors())
        assert {one.parameter.shape for one in told if one.plus and one.part == "text_encoder"} <= {
            torch.Size([out, 8]) for out in (32, 64, 128)
        }
    blocks = {(one.key, one.block) for one in told}
    assert ("lora_unet_input_blocks_4_1_proj_in", 2 + 3) in blocks
    assert ("lora_unet_out_2", 22) in blocks
    assert ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", None) in blocks
    assert {one.key.split("_")[1] for one in told if one.part == "text_encoder_2"} == {"te2"}
    plus = [one for one in told if one.plus]
    assert len(plus) == 263 + 24
    assert all(one.parameter.abs().max() == 0 for one in plus)


def test_norms_train_beside_the_layers(model: Family) -> None:
    with attached(model, options("loha", train_norm=True, preset="unet-only")) as network:
        norms = {name for name in network.state_dict() if name.endswith("_norm")}
    assert "lora_unet_input_blocks_1_0_in_layers_0.w_norm" in norms
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_norm1.b_norm" in norms
    assert len(norms) == 2 * 96


@pytest.mark.parametrize("kind", ["locon", "diag-oft"])
def test_blocks_have_their_own_ranks_and_a_rank_of_zero_leaves_them_out(kind: str, model: Family) -> None:
    dims = [0, 4, *[8] * 20, 2]
    with attached(model, options(kind, block_dims=dims)) as network:
        shapes = {name: value.shape for name, value in network.state_dict().items()}
    assert not any(name.startswith(("lora_unet_time_embed", "lora_unet_label_emb")) for name in shapes)
    tensor, side = ("lora_down.weight", 0) if kind == "locon" else ("oft_blocks", 2)
    assert shapes[f"lora_unet_input_blocks_0_0.{tensor}"][side] == 4
    # OFT takes 8 blocks of 4 for 32 channels.
    assert shapes[f"lora_unet_input_blocks_1_0_in_layers_2.{tensor}"][side] == (8 if kind == "locon" else 4)
    assert shapes[f"lora_unet_out_2.{tensor}"][side] == 2


def test_boft_says_which_block_size_a_model_needs(model: Family) -> None:
    changed = holding(model, nn.ModuleDict({"conv_in": nn.Conv2d(4, 320, 3)}))
    with pytest.raises(UserError, match=r"network\.dim=8.*needs 10"):
        attach(changed, options("boft", dim=8), 0)


@pytest.mark.parametrize(
    "kind", ["locon", "dylora", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("dora", "tlora"))]
)
def test_checkpointed_gradients_are_the_same(kind: str, tiny_model: Path, model: Family) -> None:
    """A draw inside a forward pass comes again when the pass is repeated."""
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    text, sizes = model.encode_text(["a", "b"]), torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 2)
    found: list[list[Tensor]] = []
    unet: Any = model.unet
    with attached(model, options(kind, **({"module_dropout": 0.2} if kind == "locon" else {}))) as network:
        move(network)
        network.train(True)
        network.at(torch.tensor([10, 700]), 1000)
        unet.train()
        for checkpointing in (False, True):
            torch.manual_seed(4)
            (unet.enable_gradient_checkpointing if checkpointing else unet.disable_gradient_checkpointing)()
            loss = model.predict(noisy, torch.tensor([10, 700]), text, sizes).square().mean()
            grads = torch.autograd.grad(loss, network.parameters("unet"), allow_unused=True)
            found.append([torch.zeros(()) if grad is None else grad for grad in grads])
        unet.disable_gradient_checkpointing()
        unet.eval()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
