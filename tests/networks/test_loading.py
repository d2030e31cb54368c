"""A network goes on from a file: the same update comes back, and what does not fit is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.adapters.rankless import NormAdapter
from sweeplora.networks.network import attach
from tests.networks.adapters.test_adapters import MADE
from tests.networks.attached import adapter, conv, linear
from tests.networks.conftest import Predict
from tests.networks.options import options
from tests.networks.test_network import attached, move

LOADABLE = [kind for kind in MADE if not kind.startswith("tlora")]


def file_of(made: Any) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in made.file_tensors().items()}


def plainly_scaled(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Half the alpha and twice one factor: another file of the same update."""
    scaled = dict(tensors)
    scaled["alpha"] = tensors["alpha"] / 2
    for name in ("lora_down.weight", "hada_w2_b", "lokr_w2", "lokr_w2_b", "a1.weight", "b1.weight"):
        if name in tensors:
            scaled[name] = tensors[name] * 2
    return scaled


@pytest.mark.parametrize("shape", ["linear", "conv"])
@pytest.mark.parametrize("kind", LOADABLE)
def test_a_files_update_comes_back(kind: str, shape: str) -> None:
    layer = {"linear": linear, "conv": conv}[shape]()
    tensors = file_of(moved := adapter(MADE[kind], layer))
    expected = moved.change().detach()
    moved.detach()
    made = adapter(MADE[kind], layer, move=0.3)
    made.load(tensors)
    torch.testing.assert_close(made.change(), expected, rtol=1e-4, atol=1e-6)
    for name, value in file_of(made).items():
        torch.testing.assert_close(value, tensors[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["locon", "locon-rs", "loha", "lokr", "lokr-both-tucker", "dylora", "glora"])
def test_a_files_own_alpha_counts(kind: str) -> None:
    layer = linear()
    tensors = file_of(moved := adapter(MADE[kind], layer))
    made = adapter(MADE[kind], layer)
    made.load(plainly_scaled(tensors))
    torch.testing.assert_close(made.change(), moved.change(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", ["linear", "conv"])
def test_a_glora_in_lycoris_own_form_is_read_too(shape: str) -> None:
    """Its names are the other way round on linear layers, and its alpha is one that was not multiplied in."""
    layer = {"linear": linear, "conv": conv}[shape]()
    moved = adapter(options("glora", dim=4, alpha=2.0), layer)
    tensors = {name: value.detach().clone() for name, value in moved.module.custom_state_dict().items()}
    expected = moved.change().detach()
    moved.detach()
    made = adapter(options("glora", dim=4, alpha=2.0), layer, move=0.3)
    made.load(tensors)
    torch.testing.assert_close(made.change(), expected, rtol=1e-4, atol=1e-6)


def test_norms_come_back() -> None:
    norm = nn.GroupNorm(4, 8).requires_grad_(False)
    first, second = (NormAdapter(options("locon"), "key", norm) for _ in range(2))
    first.module.w_norm.data += torch.randn(8)
    second.load(file_of(first))
    assert torch.equal(second.module.w_norm, first.module.w_norm)


@pytest.mark.parametrize(
    ("kind", "other", "tensor"),
    [
        ("locon", options("locon", dim=4), "lora_up.weight"),
        ("locon", options("loha"), "lora_"),
        ("dora", options("locon"), "dora_scale"),
        ("dora", options("locon", dora=True, wd_on_output=True), "dora_scale"),
        ("ia3-input", options("ia3"), "on_input"),
        ("diag-oft-rescaled", options("diag-oft", dim=4), "rescale"),
        ("boft", options("boft", dim=10, constraint=0.001), "oft_blocks"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(kind: str, other: Any, tensor: str) -> None:
    tensors = file_of(adapter(MADE[kind], linear()))
    with pytest.raises(UserError, match=rf"network\.weights=lora_unet_key\.{tensor}"):
        adapter(other, linear()).load(tensors)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("locon", {"train_norm": True}), ("dora", {}), ("loha", {}), ("lokr", {"dim": 2}), ("glora", {"dim": 64})],
)
def test_a_network_starts_from_a_saved_one(
    kind: str, changes: dict[str, Any], model: Family, predict: Predict, tmp_path: Any
) -> None:
    file = str(tmp_path / "network.safetensors")
    with attached(model, options(kind, **changes)) as network:
        move(network)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
        expected = predict()
    with attached(model, options(kind, weights=file, **changes), seed=9):
        torch.testing.assert_close(predict(), expected, rtol=1e-4, atol=1e-4)


def test_ranks_are_taken_from_a_file(model: Family, predict: Predict, tmp_path: Any) -> None:
    file = str(tmp_path / "network.safetensors")
    with attached(model, options("locon", dim=3, alpha=1.5, preset="attn-mlp")) as network:
        move(network)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
        keys, expected = set(network.modules), predict()
    with attached(model, options("locon", weights=file, dim_from_weights=True)) as network:
        assert set(network.modules) == keys
        torch.testing.assert_close(predict(), expected, rtol=1e-4, atol=1e-4)


def test_a_layer_that_does_not_train_is_refused(model: Family) -> None:
    network = attach(model, options("locon", preset="attn-only"), 0)
    network.detach()
    with pytest.raises(UserError, match=r"network\.weights=lora_unet_out_2"):
        network.load_file_tensors({"lora_unet_out_2": {}})
