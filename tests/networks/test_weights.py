"""A file loads elsewhere as what it was here, and says what web UIs want to know."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from lycoris.modules import get_module, make_module
from lycoris.modules.locon import LoConModule
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from sweeplora.compose import compose
from sweeplora.models import sdxl
from sweeplora.models.sdxl import SDXL
from sweeplora.networks import weights
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.keys import unet_layers
from sweeplora.networks.lycoris import attach
from tests.networks.conftest import Predict
from tests.networks.options import options
from tests.networks.test_lycoris import attached, move


class Image(NamedTuple):
    name: str
    caption: str
    repeats: int


def config(*overrides: str) -> dict[str, Any]:
    made: dict[str, Any] = compose(overrides).config
    return made


def write(network_of: Algorithm, model: SDXL, file: Path, predict: Predict) -> torch.Tensor:
    """Save a network that has moved; returns what the model predicts with it."""
    with attached(model, network_of) as network:
        move(network)
        weights.save(file, network.state_dict(), weights.metadata(config(), model, 1, 1), torch.float32)
        return predict()


@pytest.fixture
def fresh(tiny_model: Path) -> SDXL:
    """The tiny model once more, which a test may change for good."""
    return sdxl.load(str(tiny_model), "tiny", None, None, False)


def predicted_by(other: SDXL) -> torch.Tensor:
    latents = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    sizes = torch.tensor([[48.0, 64.0, 0.0, 0.0, 48.0, 64.0]] * 2)
    with torch.no_grad():
        text = other.encode_text(["red apple, food", "rocket"])
        return other.predict(latents, torch.tensor([20, 800]), text, sizes)


@pytest.mark.parametrize(
    "changes",
    [{}, {"text_encoders": True}, {"use_tucker": False, "use_scalar": True, "conv_dim": 2, "rs_lora": True}],
    ids=["unet", "with-encoders", "scalar-conv-rs"],
)
def test_diffusers_loads_a_locon_as_it_is(
    changes: dict[str, Any], model: SDXL, tiny_model: Path, tmp_path: Path, predict: Predict
) -> None:
    file = tmp_path / "locon.safetensors"
    base = predict()
    ours = write(options("locon", **changes), model, file, predict)
    assert (ours - base).abs().max() > 0.05
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    pipe.load_lora_weights(file)
    names = {name.split(".")[0] for name in load_file(file)}
    wrapped = sum(
        "lora_A" in n
        for part in (pipe.unet, pipe.text_encoder, pipe.text_encoder_2)
        for n, _ in part.named_parameters()
    )
    assert wrapped == len(names)
    sizes = torch.tensor([[48.0, 64.0, 0.0, 0.0, 48.0, 64.0]] * 2)
    latents = torch.randn(2, 4, 12, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        hidden, _, pooled, _ = pipe.encode_prompt(
            ["red apple, food", "rocket"], device="cpu", do_classifier_free_guidance=False
        )
        theirs = pipe.unet(
            latents,
            torch.tensor([20, 800]),
            hidden,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes},
            return_dict=False,
        )[0]
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


MERGED = {
    "locon": options("locon", use_tucker=True),
    "loha": options("loha"),
    "loha-tucker-scalar": options("loha", use_tucker=True, use_scalar=True),
    "lokr": options("lokr", dim=2, alpha=1.0, preset="attn-mlp"),
    "lokr-scalar-factor": options("lokr", dim=2, alpha=1.0, factor=4, use_scalar=True),
    "lokr-whole": options("lokr", dim=100000, rs_lora=True),
    "lokr-full": options("lokr", full_matrix=True),
}


@pytest.mark.parametrize("kind", MERGED)
def test_lycoris_merges_a_file_into_the_same_model(
    kind: str, model: SDXL, fresh: SDXL, tmp_path: Path, predict: Predict
) -> None:
    file = tmp_path / "network.safetensors"
    ours = write(MERGED[kind], model, file, predict)
    tensors = load_file(file)
    layers = by_key(fresh)
    for key in sorted({name.split(".")[0] for name in tensors}):
        make_module(*get_module(tensors, key), key, layers[key]).merge_to(1.0)
    torch.testing.assert_close(predicted_by(fresh), ours, rtol=2e-5, atol=2e-5)


def test_a_lokr_file_is_the_product_of_its_factors(model: SDXL, fresh: SDXL, tmp_path: Path, predict: Predict) -> None:
    """As ComfyUI and A1111 read it. LyCORIS 4.1.3 itself cannot load a low-rank convolution of factor -1."""
    file = tmp_path / "network.safetensors"
    ours = write(options("lokr", dim=2, alpha=1.0), model, file, predict)
    tensors = load_file(file)
    for key, layer in by_key(fresh).items():
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        small, shape = tensors[f"{key}.lokr_w1"], layer.weight.shape
        if f"{key}.lokr_w2" in tensors:
            large, scale = tensors[f"{key}.lokr_w2"].flatten(1), 1.0
        else:
            a, b = tensors[f"{key}.lokr_w2_a"], tensors[f"{key}.lokr_w2_b"]
            large, scale = a @ b, float(tensors[f"{key}.alpha"]) / len(b)
        layer.weight.data += scale * torch.kron(small, large).view(shape)
    torch.testing.assert_close(predicted_by(fresh), ours, rtol=2e-5, atol=2e-5)


def by_key(other: SDXL) -> dict[str, nn.Module]:
    layers = {name: m for name, m in other.unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    shapes = {name: tuple(layer.weight.shape) for name, layer in layers.items()}
    return {key: layers[name] for name, key in unet_layers(shapes, "full").items()}


def test_lycoris_merges_a_dora_told_the_direction_of_its_norms(
    model: SDXL, fresh: SDXL, tmp_path: Path, predict: Predict
) -> None:
    """LyCORIS itself reads every DoRA file as normed per output channel, so its module is made by hand."""
    file = tmp_path / "dora.safetensors"
    ours = write(options("locon", dora=True), model, file, predict)
    tensors = load_file(file)
    for key, layer in by_key(fresh).items():
        names = ("alpha", "dora_scale", "lora_up.weight", "lora_down.weight")
        mine = {name: tensors[f"{key}.{name}"] for name in names}
        module = LoConModule(key, layer, 1.0, 8, float(mine["alpha"]), weight_decompose=True, wd_on_out=False)
        module.load_state_dict(mine, strict=False)
        module.merge_to(1.0)
    torch.testing.assert_close(predicted_by(fresh), ours, rtol=2e-5, atol=2e-5)


def test_a_dora_file_is_normed_per_input_channel(model: SDXL, tmp_path: Path, predict: Predict) -> None:
    """The shape by which ComfyUI, Forge and A1111 apply it: one magnitude for every input of a layer."""
    file = tmp_path / "dora.safetensors"
    write(options("locon", dora=True), model, file, predict)
    tensors = load_file(file)
    query = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    assert tensors[f"{query}.dora_scale"].shape == (1, 64)
    assert tensors["lora_unet_input_blocks_0_0.dora_scale"].shape == (1, 4, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision_is_as_asked_and_alpha_exact(dtype: torch.dtype, model: SDXL, tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    with attached(model, options("lokr", dim=100000)) as network:
        weights.save(file, network.state_dict(), {}, dtype)
    tensors = load_file(file)
    assert {t.dtype for name, t in tensors.items() if not name.endswith(".alpha")} == {dtype}
    assert {float(t) for name, t in tensors.items() if name.endswith(".alpha")} == {100000.0}
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_a_locons_file_keeps_the_alpha_that_was_asked_for(model: SDXL) -> None:
    with attached(model, options("locon", dim=8, alpha=2.0, conv_dim=4, conv_alpha=1.0)) as network:
        state = network.state_dict()
    assert float(state["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha"]) == 2.0
    assert float(state["lora_unet_input_blocks_1_0_in_layers_2.alpha"]) == 1.0
    assert state["lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight"].shape == (4, 32, 3, 3)


def test_metadata_says_what_web_uis_read(model: SDXL, tmp_path: Path) -> None:
    images = [
        Image("3_cats/a.png", "cat, red hat", 3),
        Image("3_cats/b.png", "cat,  dog", 3),
        Image("c.png", "dog", 1),
    ]
    made = weights.metadata(config("network=lokr", "network.dora=true", "data.name=zoo"), model, 2, 30, images)
    wanted = {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_v2": "False",
        "ss_network_module": "lycoris.kohya",
        "ss_network_dim": "8",
        "ss_network_alpha": "4",
        "ss_output_name": "emoji-zoo",
        "ss_sd_model_name": "emoji-xl",
        "ss_steps": "30",
        "ss_epoch": "2",
        "ss_seed": "0",
        "ss_learning_rate": "0.002",
        "ss_num_train_images": "7",
        "ss_resolution": "(64, 64)",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.title": "emoji-zoo",
        "modelspec.resolution": "64x64",
        "modelspec.prediction_type": "epsilon",
    }
    assert {key: made[key] for key in wanted} == wanted
    arguments = json.loads(made["ss_network_args"])
    assert {"algo": "lokr", "preset": "full", "factor": "-1", "dora_wd": "True"}.items() <= arguments.items()
    assert json.loads(made["ss_tag_frequency"]) == {"3_cats": {"cat": 2, "red hat": 1, "dog": 1}, "zoo": {"dog": 1}}
    assert json.loads(made["ss_dataset_dirs"])["3_cats"] == {"n_repeats": 3, "img_count": 2}
    assert all(isinstance(value, str) for value in made.values())


def test_hashes_are_those_that_web_uis_look_files_up_by(model: SDXL, tmp_path: Path) -> None:
    """Over the tensors' bytes; and over a window from 1 MiB on of the file with `ss_` metadata alone."""
    file, reference = tmp_path / "network.safetensors", tmp_path / "reference.safetensors"
    with attached(model, options("locon")) as network:
        state = network.state_dict()
    weights.save(file, state, {"ss_seed": "1", "modelspec.title": "x"}, torch.float32)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    data = file.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    assert metadata["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    save_file(load_file(file), reference, {"ss_seed": "1"})
    window = reference.read_bytes()[0x100000:0x110000]
    assert len(window) == 0x10000
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(window).hexdigest()[:8]
    assert metadata["modelspec.title"] == "x"


def test_the_same_network_gives_the_same_bytes(model: SDXL, tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        network = attach(model, options("loha"), 4)
        weights.save(file, network.state_dict(), weights.metadata(config(), model, 1, 1), torch.float16)
        network.detach()
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_exact_tensors_of_a_training_are_no_file(model: SDXL, tmp_path: Path) -> None:
    with attached(model, options("locon")) as network, pytest.raises(AssertionError):
        weights.save(tmp_path / "x", network.trained_tensors(), {}, torch.float32)
