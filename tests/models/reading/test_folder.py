"""What a model's folder says of itself, and that what is missing or broken is named."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from sweeplora.errors import UserError
from tests.models.families import load, sdxl


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model's folder, free to be broken."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_tiny_models_facts(tiny_model: Path) -> None:
    facts = sdxl(tiny_model).facts()
    assert (facts.resolution, facts.scale_factor, facts.divisor, facts.latent_channels) == (64, 4, 16, 4)
    assert (facts.max_tokens, facts.prediction, facts.num_timesteps) == (75, "epsilon", 1000)
    assert (facts.layout.name, facts.force_zeros) == ("sdxl", True)
    assert set(facts.parts) == {"unet", "vae", "text_encoder", "text_encoder_2"}
    assert {file.name for file in facts.files} >= {"model_index.json", "tokenizer.json", "config.json"}
    assert all(file.is_relative_to(tiny_model) for file in facts.files)


def test_sdxls_numbers_come_from_its_configs(copy: Path) -> None:
    edit(copy / "unet/config.json", sample_size=128, block_out_channels=[320, 640, 1280])
    edit(copy / "vae/config.json", block_out_channels=[128, 256, 512, 512])
    edit(copy / "scheduler/scheduler_config.json", prediction_type="v_prediction")
    facts = sdxl(copy).facts()
    assert (facts.resolution, facts.scale_factor, facts.divisor) == (1024, 8, 32)
    assert facts.prediction == "v_prediction"


@pytest.mark.parametrize(
    "part",
    [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "text_encoder_2/config.json",
        "tokenizer/tokenizer.json",
        "tokenizer_2/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_missing_part_is_named(part: str, copy: Path) -> None:
    (copy / part).unlink()
    with pytest.raises(UserError) as caught:
        sdxl(copy).facts()
    assert caught.value.key == "model.path"
    assert part in str(caught.value)


def truncate(model: Path) -> None:
    file = model / "unet/diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def garble(model: Path) -> None:
    (model / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"version https://git-lfs")


def unreadable_config(model: Path) -> None:
    (model / "unet/config.json").write_text("{")


def other_architecture(model: Path) -> None:
    edit(model / "unet/config.json", addition_embed_type=None)


def flow_prediction(model: Path) -> None:
    edit(model / "scheduler/scheduler_config.json", prediction_type="flow_prediction")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (truncate, "unet/diffusion_pytorch_model.safetensors is truncated"),
        (garble, "unet/diffusion_pytorch_model.safetensors is no safetensors file"),
        (unreadable_config, "unet/config.json is no JSON"),
        (other_architecture, "unet/config.json is not SDXL's"),
        (flow_prediction, "prediction_type flow_prediction"),
        (shutil.rmtree, "it does not exist"),
    ],
)
def test_what_cannot_be_used_is_said(harm: Callable[[Path], None], words: str, copy: Path) -> None:
    harm(copy)
    with pytest.raises(UserError) as caught:
        sdxl(copy).facts()
    assert caught.value.key == "model.path"
    assert words in str(caught.value)


def test_half_precision_variants_and_shards_are_found_and_loaded(copy: Path, tiny_model: Path) -> None:
    unet, encoder = copy / "unet", copy / "text_encoder"
    (encoder / "model.safetensors").rename(encoder / "model.fp16.safetensors")
    tensors = load_file(unet / "diffusion_pytorch_model.safetensors")
    names = sorted(tensors)
    halves = {"a.safetensors": names[: len(names) // 2], "b.safetensors": names[len(names) // 2 :]}
    for file, keys in halves.items():
        save_file({key: tensors[key] for key in keys}, unet / file, {"format": "pt"})
    weight_map = {key: file for file, keys in halves.items() for key in keys}
    index = {"metadata": {}, "weight_map": weight_map}
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    facts = sdxl(copy).facts()
    named = "diffusion_pytorch_model.safetensors.index.json"
    assert [file.name for file in facts.unet.files] == ["config.json", named, "a.safetensors", "b.safetensors"]
    assert facts.text_encoders[0].files[1].name == "model.fp16.safetensors"
    assert facts.unet.shapes() == sdxl(tiny_model).facts().unet.shapes()
    model = load(copy)
    assert all((value == tensors[name]).all() for name, value in model.unet.state_dict().items())
    (unet / "b.safetensors").unlink()
    with pytest.raises(UserError, match=r"unet/b\.safetensors is missing"):
        sdxl(copy).facts()


def test_another_vae_is_a_folder_of_its_own_or_a_whole_models(copy: Path, tiny_model: Path) -> None:
    edit(copy / "vae/config.json", scaling_factor=2.5)
    for given in (copy, copy / "vae"):
        facts = sdxl(tiny_model, vae=str(given)).facts()
        assert facts.vae.path == copy / "vae"
        assert facts.vae.config["scaling_factor"] == 2.5


@pytest.mark.parametrize("name", ["sdxl-vae-fp16-fix", "unet", "text_encoder", "vae.v2"])
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_a_vae_may_be_in_a_folder_of_any_name(
    name: str, variant: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_model / "vae", tmp_path / name))
    file, former = folder / "diffusion_pytorch_model.safetensors", {"to_q": "query", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    file.unlink()
    renamed = {key: next((key.replace(*pair) for pair in former.items() if pair[0] in key), key) for key in tensors}
    assert renamed != dict(zip(tensors, tensors, strict=True))  # as older VAEs name them
    old = {renamed[key]: tensor for key, tensor in tensors.items()}
    save_file(old, folder / f"diffusion_pytorch_model{variant}.safetensors", {"format": "pt"})
    monkeypatch.chdir(folder)
    for given in (str(folder), f"{folder}/", ".", f"../{name}"):
        facts = sdxl(tiny_model, vae=given).facts()
        assert facts.vae.shapes() == sdxl(tiny_model).facts().vae.shapes()
    loaded = load(tiny_model, vae=".").vae.state_dict()
    assert all((loaded[key] == tensor).all() for key, tensor in tensors.items())


def test_what_a_vaes_folder_lacks_is_named_with_its_kind_of_mend(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_model / "vae", tmp_path / "fixed"))
    monkeypatch.chdir(folder)
    for file in ("diffusion_pytorch_model.safetensors", "config.json"):
        (folder / file).unlink()
        for given in ("../fixed", "."):
            line = f"model.vae={given}: {file} is missing; give a diffusers VAE folder, or null"
            with pytest.raises(UserError, match=f"^{re.escape(line)}"):
                sdxl(tiny_model, vae=given).facts()


def test_a_vae_that_is_missing_or_of_another_model_is_refused(copy: Path, tiny_model: Path) -> None:
    edit(copy / "vae/config.json", latent_channels=16)
    for given, words in ((copy, "16 channels"), (copy / "none", "does not exist"), (copy / "unet", "latent_channels")):
        with pytest.raises(UserError) as caught:
            sdxl(tiny_model, vae=str(given)).facts()
        assert caught.value.key == "model.vae"
        assert words in str(caught.value)


def test_zero_terminal_snr_needs_v_prediction(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"model\.zero_terminal_snr=True: needs model\.prediction=v_prediction"):
        sdxl(tiny_model, zero_terminal_snr=True).facts()
    made = sdxl(tiny_model, prediction="v_prediction", zero_terminal_snr=True).facts().scheduler
    assert (made["prediction_type"], made["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert made["beta_end"] == 0.012


def test_betas_of_another_kind_are_refused(copy: Path) -> None:
    edit(copy / "scheduler/scheduler_config.json", beta_schedule="squaredcos_cap_v2")
    with pytest.raises(UserError, match="beta_schedule squaredcos_cap_v2"):
        sdxl(copy).facts()


def test_a_folder_is_read_without_torch() -> None:
    imported = "import sys, sweeplora.models.sdxl, sweeplora.models.sd15"
    code = f"{imported}; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
