"""A file that cannot start the network that is asked for is refused from its header, saying why."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.blocks import Rank
from sweeplora.networks.file import fit
from sweeplora.networks.file.held import known_keys, ranks_of_file, read
from sweeplora.networks.file.write import save
from sweeplora.networks.keys import Shaped, encoder_layers, selected, unet_layers
from sweeplora.networks.network import attach
from tests.networks.models import moved, opened, predicted
from tests.networks.options import KINDS, options
from tests.networks.real import Facts, real

TO_Q = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_input_blocks_1_0_in_layers_2"
NORM = "lora_unet_input_blocks_4_1_norm"
Write = Callable[[dict[str, Tensor]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(tensors: dict[str, Tensor]) -> Path:
        file = tmp_path / "network.safetensors"
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, file)
        return file

    return written


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Family:
    return opened("sdxl", tiny_model)


@functools.cache
def sizes(family: str) -> dict[str, tuple[int, ...]]:
    """Key -> weight shape of every layer."""
    model = real(family)
    found = {key: model.unet[name] for name, key in unet_layers(model.unet, "full", model.layout).items()}
    for encoder, prefix in zip(model.encoders, model.layout.encoder_prefixes, strict=True):
        found |= {key: encoder[name] for name, key in encoder_layers(encoder, "full", prefix).items()}
    return found


def lora(
    key: str, rank: int = 4, alpha: float | None = 2.0, dtype: torch.dtype = torch.float32, family: str = "sdxl"
) -> dict[str, Tensor]:
    """One layer's tensors as kohya writes them."""
    outputs, *inputs = sizes(family)[key]
    tensors = {
        f"{key}.lora_down.weight": torch.zeros(rank, *inputs),
        f"{key}.lora_up.weight": torch.zeros(outputs, rank, *(1 for _ in inputs[1:])),
    }
    return tensors if alpha is None else {**tensors, f"{key}.alpha": torch.tensor(alpha, dtype=dtype)}


def network(kind: str, weights: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = compose([f"network={kind}"]).config["network"]
    return {**values, "weights": str(weights), **changes}


def check(values: dict[str, Any], facts: Shaped | None = None) -> list[str]:
    known = facts or Facts("sdxl")
    return fit.check(values, known, selected(known, values))


def refusal(kind: str, weights: Path, family: str = "sdxl", **changes: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        check(network(kind, weights, **changes), Facts(family))
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_file_that_fits_passes(write: Write) -> None:
    file = write(lora(TO_Q) | lora(CONV))
    check(network("locon", file, dim=4))
    check(network("locon", file, dim_from_weights=True))
    check(network("dylora", file, dim=4))
    check({**network("locon", file), "weights": None})


def test_a_missing_file_and_one_that_is_no_network_are_said(write: Write, tmp_path: Path) -> None:
    assert "does not exist" in str(refusal("locon", tmp_path / "none.safetensors"))
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"no safetensors file at all")
    assert "is no safetensors file" in str(refusal("locon", torn))
    evil = tmp_path / "evil.pt"
    torch.save({"x": print}, evil)
    assert "could run code" in str(refusal("locon", evil))
    bare = write({f"{TO_Q}.lora_down.weight": torch.zeros(4, 6)})
    assert f"is damaged: {TO_Q} lacks lora_up.weight" in str(refusal("locon", bare))
    other = write({f"{TO_Q}.something": torch.zeros(4, 6)})
    assert "of no known algorithm" in str(refusal("locon", other))


def test_a_file_of_another_family_is_counted_and_its_first_layer_named(write: Write) -> None:
    foreign = [f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_{name}" for name in "qkv"]
    file = write(lora(CONV) | {name: value for key in foreign for name, value in lora(key, family="sd15").items()})
    error = refusal("locon", file)
    assert f"3 of its 4 layers are in no sdxl model, first {foreign[0][:-1]}" in str(error)
    assert error.key == "network.weights"
    assert "1 of its 4 layers are in no sd15 model" in str(refusal("locon", file, "sd15"))


def test_a_layer_of_the_same_name_and_another_size_is_another_models(write: Write) -> None:
    """SD 1.5's files name their layers as diffusers does, and so do some for SDXL."""
    shared = "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    assert "1 of its 1 layers are in no sdxl model" in str(refusal("locon", write(lora(shared, family="sd15")), dim=4))


def test_another_algorithm_than_the_files_is_refused_naming_both(write: Write) -> None:
    assert "holds locon layers, the network is lokr" in str(refusal("lokr", write(lora(TO_Q))))
    norms = write(lora(TO_Q) | {f"{NORM}.w_norm": torch.zeros(6), f"{NORM}.b_norm": torch.zeros(6)})
    assert "train_norm=true" in str(refusal("locon", norms, dim=4))
    check(network("locon", norms, dim=4, train_norm=True))


def test_layers_that_do_not_train_here_are_not_dropped_silently(write: Write) -> None:
    encoder = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    file = write(lora(TO_Q) | lora(CONV) | lora(encoder))
    assert f"1 of its 3 layers do not train here, first {encoder}" in str(refusal("locon", file, dim=4))
    assert "2 of its 3 layers" in str(refusal("locon", file, dim=4, preset="attn-mlp"))
    check(network("locon", file, dim=4, text_encoders=True))
    assert "1 of its 3" in str(refusal("locon", file, dim=4, text_encoders=True, block_dims=[4, 4, 0] + [4] * 20))


def test_other_ranks_are_refused_naming_both_unless_the_files_are_taken(write: Write) -> None:
    file = write(lora(TO_Q, 8) | lora(CONV, 4))
    error = str(refusal("locon", file, dim=8))
    assert f"{CONV} has rank 4 in the file and 8 here (network.dim=8)" in error
    assert "dim_from_weights=true" in error
    check(network("locon", file, dim=8, conv_dim=4))
    check(network("locon", file, dim_from_weights=True))


def test_dora_and_tucker_must_be_as_in_the_file(write: Write) -> None:
    plain, dora = write(lora(TO_Q)), {f"{TO_Q}.dora_scale": torch.zeros(1, 6)}
    assert "has no dora_scale; use false" in str(refusal("dora", plain, dim=4))
    file = write(lora(TO_Q) | dora)
    assert "has dora_scale; use true" in str(refusal("locon", file, dim=4))
    assert "taken per input" in str(refusal("dora", file, dim=4, wd_on_output=True))
    check(network("dora", file, dim=4))
    tucker = write(
        {
            f"{CONV}.lora_down.weight": torch.zeros(4, 320, 1, 1),
            f"{CONV}.lora_mid.weight": torch.zeros(4, 4, 3, 3),
            f"{CONV}.lora_up.weight": torch.zeros(320, 4, 1, 1),
        }
    )
    assert refusal("locon", tucker, dim=4).key == "network.use_tucker"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64])
def test_ranks_and_alphas_are_read_whatever_their_precision(dtype: torch.dtype, write: Write) -> None:
    file = write(lora(TO_Q, 8, 4.0, dtype) | lora(CONV, 2, None))
    assert ranks_of_file(read("network.weights", file, Facts("sdxl"))) == {TO_Q: Rank(8, 4.0), CONV: Rank(2, 2.0)}


def test_ranks_of_every_algorithm_are_read_from_shapes(write: Write) -> None:
    tall, wide, square = torch.zeros(640, 3), torch.zeros(3, 640), torch.zeros(2, 2)
    layers = [f"{TO_Q.removesuffix('to_q')}to_{name}" for name in ("q", "k", "v", "out_0")]
    file = write(
        {f"{layers[0]}.hada_w1_a": tall, f"{layers[0]}.hada_w1_b": wide}
        | {f"{layers[0]}.hada_w2_a": tall, f"{layers[0]}.hada_w2_b": wide}
        | {f"{layers[1]}.lokr_w1": square, f"{layers[1]}.lokr_w2_a": tall, f"{layers[1]}.lokr_w2_b": wide}
        | {f"{layers[2]}.lokr_w1": square, f"{layers[2]}.lokr_w2": tall, f"{layers[2]}.alpha": torch.tensor(64.0)}
        | {f"{layers[3]}.diff": torch.zeros(640, 640), f"{layers[3]}.diff_b": torch.zeros(640)}
    )
    held = read("network.weights", file, Facts("sdxl"))
    assert {key: (one.kind.name, one.rank, one.whole) for key, one in held.items()} == {
        layers[0]: ("loha", 3, False),
        layers[1]: ("lokr", 3, False),
        layers[2]: ("lokr", 64, True),
        layers[3]: ("full", None, False),
    }


def test_files_named_by_diffusers_are_known_by_our_keys(write: Write) -> None:
    theirs = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    file = write({name.replace(TO_Q, theirs): value for name, value in lora(TO_Q, 8, 1.0).items()})
    assert ranks_of_file(read("network.weights", file, Facts("sdxl"))) == {TO_Q: Rank(8, 1.0)}


@pytest.mark.parametrize("family", ["sdxl", "sd15"])
def test_every_layer_of_a_family_is_known(family: str) -> None:
    known, keys = known_keys(Facts(family)), sizes(family)
    assert keys.keys() <= known.keys()
    assert all(known[key] == key for key in keys)


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("locon", "dora", "lokr", "full", "boft") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
        if kind != "tlora"
    ],
)
def test_our_own_files_start_the_network_that_made_them(kind: str, tiny: Family, tmp_path: Path) -> None:
    """A T-LoRA's file is a plain LoRA and starts a LoCon."""
    file = tmp_path / "network.ckpt"
    made = options(kind, train_norm=True)
    with moved(tiny, made) as network_made:
        save(file, network_made.state_dict(), {}, torch.float32)
        wanted = predicted(tiny)
    check(network(kind, file, train_norm=True), tiny.facts)
    network_started = attach(tiny, options(kind, train_norm=True, weights=str(file)), 1)
    network_started.train(False)
    started = predicted(tiny)
    network_started.detach()
    torch.testing.assert_close(started, wanted, rtol=1e-5, atol=1e-5)


def test_only_kinds_that_can_be_merged_may_be_base_weights(write: Write) -> None:
    fit.check_mergeable("model.base_weights", [write(lora(TO_Q))], Facts("sdxl"))
    rotated = write({f"{TO_Q}.oft_blocks": torch.zeros(2, 3, 3)})
    with pytest.raises(UserError, match=r"holds oft layers, which cannot be merged"):
        fit.check_mergeable("model.base_weights", [rotated], Facts("sdxl"))
