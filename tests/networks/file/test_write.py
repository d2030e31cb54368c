"""A file loads elsewhere as what it was here, and says what web UIs want to know."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from lycoris.modules import get_module, make_module
from lycoris.modules.locon import LoConModule
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from sweeplora.config.compose import compose
from sweeplora.content import ContentHashes
from sweeplora.data.batches import Length
from sweeplora.data.buckets import Size
from sweeplora.data.dataset import Picture, Treatment
from sweeplora.models.family import Family
from sweeplora.networks.algorithms import Algorithm
from sweeplora.networks.file.write import save
from sweeplora.networks.keys import unet_layers
from sweeplora.networks.network import attach
from sweeplora.rundir.naming import Naming
from sweeplora.rundir.signature import signature
from sweeplora.training.metadata import Trained, metadata, model_hashes
from tests.data.folders import RULES
from tests.networks.models import CAPTIONS, SIZES, TIMESTEPS, latents, moved, opened, predicted
from tests.networks.options import options
from tests.networks.real import shapes

TREATMENTS = {is_reg: Treatment(RULES, False, False, False, is_reg) for is_reg in (False, True)}


def image(name: str, caption: str, repeats: int, *, is_reg: bool = False) -> Picture:
    """A training image of 90 x 60 pixels in a bucket of 80 x 48."""
    return Picture(
        path=Path(name),
        name=name,
        caption=caption,
        width=90,
        height=60,
        repeats=repeats,
        sha256="",
        bucket=Size(80, 48),
        scaled=Size(80, 54),
        treatment=TREATMENTS[is_reg],
        mask=None,
    )


def described(asked: dict[str, Any], family: Family, epoch: int, step: int, **changes: Any) -> dict[str, str]:
    """The metadata of a training of 12 images."""
    given = {"naming": Naming(asked["name"], "file"), "length": Length(12, 3, 3, 4, 12), **changes}
    return metadata(Trained(asked, family, **given), epoch, step)


def config(*overrides: str) -> dict[str, Any]:
    made: dict[str, Any] = compose(overrides).config
    return made


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Family:
    """One model for every test: who attaches a network detaches it."""
    return opened("sdxl", tiny_model)


@pytest.fixture(scope="module")
def sd15(tiny_sd15: Path) -> Family:
    return opened("sd15", tiny_sd15)


@pytest.fixture
def fresh(tiny_model: Path) -> Family:
    """The SDXL model once more, which a test may change for good."""
    return opened("sdxl", tiny_model)


def write(network_of: Algorithm, family: Family, file: Path) -> torch.Tensor:
    """Save a network that has moved; returns what the model predicts with it."""
    with moved(family, network_of) as network:
        save(file, network.state_dict(), described(config(), family, 1, 1), torch.float32)
        return predicted(family)


def wrapped(*parts: nn.Module) -> int:
    """How many layers peft has put a LoRA on."""
    return sum("lora_A" in name for part in parts for name, _ in part.named_parameters())


@pytest.mark.parametrize(
    "changes",
    [{}, {"text_encoders": True}, {"use_tucker": True, "use_scalar": True, "conv_dim": 2, "rs_lora": True}],
    ids=["unet", "with-encoders", "tucker-scalar-conv-rs"],
)
def test_diffusers_loads_an_sdxl_locon_as_it_is(
    changes: dict[str, Any], model: Family, tiny_model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "locon.safetensors"
    base = predicted(model)
    ours = write(options("locon", **changes), model, file)
    assert (ours - base).abs().max() > 0.05
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    pipe.load_lora_weights(file)
    assert wrapped(pipe.unet, pipe.text_encoder, pipe.text_encoder_2) == layers_in(file)
    with torch.no_grad():
        hidden, _, pooled, _ = pipe.encode_prompt(CAPTIONS, device="cpu", do_classifier_free_guidance=False)
        conditions = {"text_embeds": pooled, "time_ids": SIZES}
        theirs = pipe.unet(latents(), TIMESTEPS, hidden, added_cond_kwargs=conditions, return_dict=False)[0]
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "changes", [{"preset": "attn-mlp"}, {"preset": "blocks", "text_encoders": True}], ids=["unet", "with-encoder"]
)
def test_diffusers_loads_an_sd_15_locon_as_it_is(
    changes: dict[str, Any], sd15: Family, tiny_sd15: Path, tmp_path: Path
) -> None:
    file = tmp_path / "locon.safetensors"
    ours = write(options("locon", **changes), sd15, file)
    pipe = StableDiffusionPipeline.from_pretrained(tiny_sd15, safety_checker=None)
    pipe.load_lora_weights(file)
    assert wrapped(pipe.unet, pipe.text_encoder) == layers_in(file)
    with torch.no_grad():
        hidden, _ = pipe.encode_prompt(CAPTIONS, "cpu", 1, False)
        theirs = pipe.unet(latents(), TIMESTEPS, hidden, return_dict=False)[0]
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)


def layers_in(file: Path) -> int:
    return len({name.split(".")[0] for name in load_file(file)})


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
def test_lycoris_merges_a_file_into_the_same_model(kind: str, model: Family, fresh: Family, tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    ours = write(MERGED[kind], model, file)
    tensors = load_file(file)
    layers = by_key(fresh)
    for key in sorted({name.split(".")[0] for name in tensors}):
        make_module(*get_module(tensors, key), key, layers[key]).merge_to(1.0)
    torch.testing.assert_close(predicted(fresh), ours, rtol=2e-5, atol=2e-5)


def test_a_lokr_file_is_the_product_of_its_factors(model: Family, fresh: Family, tmp_path: Path) -> None:
    """As ComfyUI and A1111 read it. LyCORIS 4.1.3 itself cannot load a low-rank convolution of factor -1."""
    file = tmp_path / "network.safetensors"
    ours = write(options("lokr", dim=2, alpha=1.0), model, file)
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
    torch.testing.assert_close(predicted(fresh), ours, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("changes", [{}, {"dim": 64}, {"use_scalar": True, "rs_lora": True}], ids=str)
def test_a_glora_file_is_read_by_a1111_on_linear_layers_and_by_comfyui_on_all(
    changes: dict[str, Any], model: Family, fresh: Family, tmp_path: Path
) -> None:
    """A1111 multiplies W a2 a1 + b2 b1 and ignores alpha; ComfyUI does so where the shapes say it.

    A rank of 64 is as large as some layers' inputs.
    """
    file = tmp_path / "glora.safetensors"
    ours = write(options("glora", **changes), model, file)
    tensors = load_file(file)
    for key, layer in by_key(fresh).items():
        a1, a2, b1, b2 = (tensors[f"{key}.{name}.weight"] for name in ("a1", "a2", "b1", "b2"))
        assert isinstance(layer, nn.Linear | nn.Conv2d)
        weight = layer.weight.data
        rank = a1.shape[0] if weight.dim() == 2 else a2.shape[0]
        assert float(tensors[f"{key}.alpha"]) == rank
        if weight.dim() == 2:
            assert rank == a2.shape[1] == b1.shape[0] == b2.shape[1]
            layer.weight.data = weight + weight @ a2 @ a1 + b2 @ b1
        else:
            assert rank == a1.shape[1] == b1.shape[1] == b2.shape[0]
            mixed = torch.einsum("oi...,ij->oj...", weight, a1.flatten(1) @ a2.flatten(1))
            layer.weight.data = weight + mixed + (b1.flatten(1) @ b2.flatten(1)).view(weight.shape)
    torch.testing.assert_close(predicted(fresh), ours, rtol=2e-5, atol=2e-5)


def by_key(other: Family) -> dict[str, nn.Module]:
    layers = dict(other.unet.named_modules())
    keys = unet_layers(shapes(other.unet), "full", other.facts.layout)
    return {key: layers[name] for name, key in keys.items()}


def test_lycoris_merges_a_dora_told_the_direction_of_its_norms(model: Family, fresh: Family, tmp_path: Path) -> None:
    """LyCORIS itself reads every DoRA file as normed per output channel, so its module is made by hand."""
    file = tmp_path / "dora.safetensors"
    ours = write(options("locon", dora=True), model, file)
    tensors = load_file(file)
    for key, layer in by_key(fresh).items():
        names = ("alpha", "dora_scale", "lora_up.weight", "lora_down.weight")
        mine = {name: tensors[f"{key}.{name}"] for name in names}
        module = LoConModule(key, layer, 1.0, 8, float(mine["alpha"]), weight_decompose=True, wd_on_out=False)
        module.load_state_dict(mine, strict=False)
        module.merge_to(1.0)
    torch.testing.assert_close(predicted(fresh), ours, rtol=2e-5, atol=2e-5)


def test_a_dora_file_is_normed_per_input_channel(model: Family, tmp_path: Path) -> None:
    """The shape by which ComfyUI, Forge and A1111 apply it: one magnitude for every input of a layer."""
    file = tmp_path / "dora.safetensors"
    write(options("locon", dora=True), model, file)
    tensors = load_file(file)
    query = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    assert tensors[f"{query}.dora_scale"].shape == (1, 64)
    assert tensors["lora_unet_input_blocks_0_0.dora_scale"].shape == (1, 4, 1, 1)


def test_a_small_update_of_a_dora_survives_half_precision(model: Family, tmp_path: Path) -> None:
    """Magnitudes are as large as the base's norms: in float16 a change of 0.1 % would lose a tenth and more."""
    file = tmp_path / "dora.safetensors"
    with moved(model, options("locon", dora=True)) as network:
        state = network.state_dict()
        save(file, state, {}, torch.float16)
    for name, tensor in load_file(file).items():
        exact = name.endswith((".alpha", ".dora_scale"))
        assert tensor.dtype == (torch.float32 if exact else torch.float16), name
        if exact:
            assert torch.equal(tensor, state[name])


def test_a_lokr_in_tucker_form_is_written_with_whole_blocks(model: Family, tmp_path: Path) -> None:
    """ComfyUI and Forge know no lokr_t2 and would leave the layer as it is."""
    file = tmp_path / "network.safetensors"
    with moved(model, options("lokr", dim=2, alpha=1.0, factor=4, use_tucker=True)) as network:
        assert any("lokr_t2" in dict(module.named_parameters()) for module in network.modules.values())
        save(file, network.state_dict(), {}, torch.float32)
    tensors = load_file(file)
    assert not any(name.endswith((".lokr_t1", ".lokr_t2")) for name in tensors)
    kernel = "lora_unet_input_blocks_1_0_in_layers_2"
    small, large = (tensors[f"{kernel}.lokr_{name}"].shape for name in ("w1", "w2"))
    assert (small[0] * large[0], small[1] * large[1], *large[2:]) == (32, 32, 3, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_precision_is_as_asked_and_alpha_exact(dtype: torch.dtype, model: Family, tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    with moved(model, options("lokr", dim=100000)) as network:
        save(file, network.state_dict(), {}, dtype)
    tensors = load_file(file)
    assert {t.dtype for name, t in tensors.items() if not name.endswith(".alpha")} == {dtype}
    assert {float(t) for name, t in tensors.items() if name.endswith(".alpha")} == {100000.0}
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]


def test_a_locons_file_keeps_the_alpha_that_was_asked_for(model: Family) -> None:
    with moved(model, options("locon", dim=8, alpha=2.0, conv_dim=4, conv_alpha=1.0)) as network:
        state = network.state_dict()
    assert float(state["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha"]) == 2.0
    assert float(state["lora_unet_input_blocks_1_0_in_layers_2.alpha"]) == 1.0
    assert state["lora_unet_input_blocks_1_0_in_layers_2.lora_down.weight"].shape == (4, 32, 3, 3)


def test_metadata_says_what_web_uis_read(model: Family, tmp_path: Path) -> None:
    images = [
        image("1_zebras/z.png", "zebra", 1),
        image("3_cats/a.png", "cat, red hat", 3),
        image("3_cats/b.png", "cat,  dog", 3),
        image("c.png", "dog", 1),
        image("2_pets/r.png", "pet", 2, is_reg=True),
    ]
    asked = config("network=lokr", "network.dora=true", "data.name=zoo", "network.block_dims=[1,2]")
    naming = Naming("emoji-zoo", "emoji-zoo-dim8", "0123456789ab")
    made = described(asked, model, 2, 30, naming=naming, pictures=images, processes=2)
    wanted = {
        "ss_base_model_version": "sdxl_base_v1-0",
        "ss_v2": "False",
        "ss_network_module": "lycoris.kohya",
        "ss_network_dim": "8",
        "ss_network_alpha": "4",
        "ss_output_name": "emoji-zoo-01234567-000002",
        "ss_sd_model_name": "emoji",
        "ss_steps": "30",
        "ss_epoch": "2",
        "ss_seed": "0",
        "ss_learning_rate": "0.002",
        "ss_num_train_images": "8",
        "ss_resolution": "(64, 64)",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.title": "emoji-zoo-01234567-000002",
        "sweeplora.signature": "0123456789ab",
        "ss_num_epochs": "4",
        "ss_max_train_steps": "12",
        "ss_num_batches_per_epoch": "3",
        "ss_batch_size_per_device": "2",
        "ss_min_bucket_reso": "32",
        "ss_max_bucket_reso": "128",
        "ss_optimizer": "torch.optim.adamw.AdamW(betas=[0.9, 0.999],eps=1e-08,weight_decay=0.01,fused=True)",
        "modelspec.resolution": "64x64",
        "modelspec.prediction_type": "epsilon",
    }
    assert {key: made[key] for key in wanted} == wanted
    arguments = json.loads(made["ss_network_args"])
    wanted_arguments = {"algo": "lokr", "preset": "full", "factor": "-1", "dora_wd": "True", "block_dims": "1,2"}
    assert wanted_arguments.items() <= arguments.items()
    assert not {"dim", "weights", "text_encoders", "conv_dim", "dora"} & arguments.keys()
    tags = json.loads(made["ss_tag_frequency"])
    assert tags == {"3_cats": {"cat": 2, "red hat": 1, "dog": 1}, "1_zebras": {"zebra": 1}, "zoo": {"dog": 1}}
    assert next(iter(tags)) == "3_cats"
    (dataset,) = json.loads(made["ss_datasets"])
    classes = {one["image_dir"]: (one["class_tokens"], one["num_repeats"], one["is_reg"]) for one in dataset["subsets"]}
    assert classes["3_cats"] == ("cats", 3, False) and classes["2_pets"] == ("pets", 2, True)
    assert json.loads(made["ss_bucket_info"]) == {
        "buckets": {"0": {"resolution": [80, 48], "count": 10}},
        "mean_img_ar_error": pytest.approx(80 / 48 - 1.5),
    }
    assert json.loads(made["ss_dataset_dirs"])["3_cats"] == {"n_repeats": 3, "img_count": 2}
    assert json.loads(made["ss_reg_dataset_dirs"]) == {"2_pets": {"n_repeats": 2, "img_count": 1}}
    assert made["ss_num_reg_images"] == "2"
    assert all(isinstance(value, str) for value in made.values())


def test_metadata_follow_from_what_the_signature_covers(model: Family, tmp_path: Path) -> None:
    """Two experiments of one signature have one header, wherever their files are and however they run."""
    asked = ("model=sdxl", "model.path=/here/a.ckpt", "model.vae=/here/vae", "data=folder", "data.dir=/here/pictures")
    unsigned = (
        "train.lowram=true",
        "data.workers=3",
        "runs=/elsewhere",
        "launcher.slots=1",
        "file_name=x",
        "reuse=false",
    )
    elsewhere = ("model.path=/there/b.safetensors", "model.vae=/there/other", "data.dir=/there/set")
    one, other = config(*asked), config(*asked, *unsigned, *elsewhere)
    contents = {key: "0" for key in ("model.path", "model.vae", "data.dir")}
    assert signature(one, contents, {}) == signature(other, contents, {})
    assert described(one, model, 1, 1) == described(other, model, 1, 1)
    renamed = config(*asked, "name=cats")
    assert described(renamed, model, 1, 1)["modelspec.title"] == "cats-000001"
    assert signature(renamed, contents, {}) != signature(one, contents, {})


def test_a_t_loras_metadata_have_the_rank_of_its_file(model: Family) -> None:
    made = described(config("network=tlora"), model, 1, 1)
    with moved(model, options("tlora")) as network:
        state = network.state_dict()
    down = next(value for name, value in state.items() if name.endswith("lora_down.weight"))
    alpha = next(value for name, value in state.items() if name.endswith(".alpha"))
    assert int(made["ss_network_dim"]) == len(down) == 16
    assert float(made["ss_network_alpha"]) == float(alpha) == 16


def test_hashes_of_the_base_are_a1111s_for_one_file_and_the_contents_for_a_folder(
    model: Family, tmp_path: Path
) -> None:
    hashes = ContentHashes(tmp_path / "memo.json")
    found = model_hashes(model, hashes)
    assert found["new_sd_model_hash"] == hashes.all(model.facts.files)
    assert found["sd_model_hash"] == found["new_sd_model_hash"][:8]
    file = tmp_path / "base.safetensors"
    file.write_bytes(bytes(range(256)) * 0x1200)
    single = SimpleNamespace(facts=SimpleNamespace(path=file, files=(), vae=model.facts.vae), vae_paths=model.vae_paths)
    found = model_hashes(single, hashes)
    assert found["new_sd_model_hash"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert found["sd_model_hash"] == hashlib.sha256(file.read_bytes()[0x100000:0x110000]).hexdigest()[:8]
    assert len(found["vae_hash"]) == 8


def test_hashes_are_those_that_web_uis_look_files_up_by(model: Family, tmp_path: Path) -> None:
    """Over the tensors' bytes; and over a window from 1 MiB on of the file with `ss_` metadata alone."""
    file, reference = tmp_path / "network.safetensors", tmp_path / "reference.safetensors"
    with moved(model, options("locon")) as network:
        state = network.state_dict()
    save(file, state, {"ss_seed": "1", "modelspec.title": "x"}, torch.float32)
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


def test_the_same_network_gives_the_same_bytes(model: Family, tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    for file in files:
        network = attach(model, options("loha"), 4)
        save(file, network.state_dict(), described(config(), model, 1, 1), torch.float16)
        network.detach()
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_ckpt_holds_the_same_tensors_and_loads_without_code(model: Family, tmp_path: Path) -> None:
    plain, pickled = tmp_path / "network.safetensors", tmp_path / "network.ckpt"
    with moved(model, options("lokr", train_norm=True)) as network:
        for file in (plain, pickled):
            save(file, network.state_dict(), {"ss_seed": "1"}, torch.float16)
    tensors, wanted = torch.load(pickled, weights_only=True), load_file(plain)
    assert tensors.keys() == wanted.keys()
    assert all(
        torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype for name, value in wanted.items()
    )


def test_a_ckpt_does_not_carry_along_what_its_tensors_are_views_of(tmp_path: Path) -> None:
    buffer = torch.zeros(1_000_000)
    save(tmp_path / "a.ckpt", {"key.diff": buffer[:10]}, {}, torch.float32)
    assert (tmp_path / "a.ckpt").stat().st_size < 10_000


@pytest.mark.parametrize("kind", ["full", "ia3", "diag-oft", "tlora"])
def test_networks_without_alphas_or_factors_are_saved_too(kind: str, model: Family, tmp_path: Path) -> None:
    with moved(model, options(kind, train_norm=True)) as network:
        save(tmp_path / "a.safetensors", network.state_dict(), {}, torch.bfloat16)
        names = set(network.state_dict())
    tensors = load_file(tmp_path / "a.safetensors")
    assert tensors.keys() == names
    norm = "lora_unet_input_blocks_4_1_norm"
    assert {name for name in names if name.startswith(f"{norm}.")} == {f"{norm}.w_norm", f"{norm}.b_norm"}


def test_sd_15_is_told_from_sdxl_by_its_metadata(sd15: Family) -> None:
    asked = config("model=sd15", "model.path=/models/old.ckpt", "model.max_tokens=150", "model.clip_skip=2")
    made = described(asked, sd15, 1, 1)
    wanted = {
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_sd_model_name": "sd15",
        "ss_clip_skip": "2",
        "ss_max_token_length": "150",
        "modelspec.architecture": "stable-diffusion-v1/lora",
        "modelspec.implementation": "diffusers",
    }
    assert {key: made[key] for key in wanted} == wanted


def test_rates_are_those_of_the_parts_that_train(model: Family) -> None:
    asked = config("network.text_encoders=true", "optimizer.lr=1e-3", "rates.text_encoder=[1e-4,1e-5]")
    made = described(asked, model, 1, 1)
    assert (made["ss_learning_rate"], made["ss_unet_lr"], made["ss_text_encoder_lr"]) == (
        "0.001",
        "0.001",
        "[0.0001, 1e-05]",
    )
    alone = described(config("network.unet=false", "network.text_encoders=true"), model, 1, 1)
    assert alone["ss_unet_lr"] == "None"
    assert described(config(), model, 1, 1)["ss_text_encoder_lr"] == "None"


def test_a_resolution_of_two_sides_and_noise_and_loss_are_told(model: Family) -> None:
    asked = config("data=folder", "data.dir=/x", "data.resolution=[1024,768]", "noise=offset", "loss=min_snr")
    made = described(asked, model, 1, 1)
    assert made["ss_resolution"] == "(1024, 768)"
    assert made["modelspec.resolution"] == "1024x768"
    assert made["ss_noise_offset"] == "0.05"
    assert made["ss_min_snr_gamma"] == str(asked["loss"]["min_snr_gamma"])
    assert made["ss_loss_type"] == "l2"
