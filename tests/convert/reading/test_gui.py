"""Settings files of kohya_ss' GUI, and what other files of that kind are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.errors import UserError

_GUI: dict[str, Any] = {
    "LoRA_type": "LyCORIS/LoKr",
    "LyCORIS_preset": "full",
    "adaptive_noise_scale": 0,
    "additional_parameters": "--face_crop_aug_range=1,2",
    "bucket_no_upscale": True,
    "bucket_reso_steps": 64,
    "cache_latents": True,
    "caption_extension": ".txt",
    "clip_skip": 1,
    "conv_alpha": 1,
    "conv_dim": 8,
    "enable_bucket": True,
    "epoch": 4,
    "factor": -1,
    "gradient_checkpointing": True,
    "keep_tokens": "0",
    "learning_rate": 0.0001,
    "logging_dir": "",
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "max_resolution": "768,512",
    "max_token_length": "75",
    "max_train_epochs": "",
    "max_train_steps": "",
    "mixed_precision": "bf16",
    "model_list": "custom",
    "multi_gpu": False,
    "multires_noise_discount": 0.3,
    "multires_noise_iterations": 6,
    "network_alpha": 4,
    "network_dim": 16,
    "noise_offset": 0.05,
    "noise_offset_type": "Multires",
    "num_cpu_threads_per_process": 2,
    "optimizer": "AdamW",
    "optimizer_args": "weight_decay=0.05 betas=0.9,0.95",
    "output_dir": "./out",
    "output_name": "gui_lora",
    "pretrained_model_name_or_path": "/m.safetensors",
    "sample_every_n_epochs": 1,
    "sample_prompts": "a cat --w 512",
    "save_every_n_epochs": 1,
    "sdxl": True,
    "sdxl_no_half_vae": True,
    "seed": "7",
    "stop_text_encoder_training": 0,
    "text_encoder_lr": 0.0,
    "train_batch_size": 2,
    "train_data_dir": "/img",
    "unet_lr": 0.0001,
    "use_cp": False,
    "xformers": "sdpa",
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _toml(content: dict[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in content.items())


@pytest.mark.parametrize("suffix", ["json", "toml"])
def test_the_guis_file_becomes_the_training_its_button_starts(suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(f"gui.{suffix}").write_text(json.dumps(_GUI) if suffix == "json" else _toml(_GUI))
    assert main([f"gui.{suffix}"]) == 1
    assert capsys.readouterr().err.strip() == "--face_crop_aug_range: cropping around faces is not supported"
    config = compose(["+sweep=gui_lora"]).config
    assert (config["model"]["name"], config["network"]["factor"], config["network"]["conv_dim"]) == ("sdxl", -1, 8)
    assert (config["train"]["epochs"], config["scheduler"]["warmup"]) == (4, 0.1)
    assert (config["noise"]["offset"], config["noise"]["multires_iterations"]) == (0, 6)
    assert (config["data"]["resolution"], config["data"]["keep_tokens"]) == ([768, 512], 0)
    assert (config["network"]["text_encoders"], config["rates"]["unet"]) == (False, 1e-4)
    assert (config["optimizer"]["weight_decay"], config["optimizer"]["betas"]) == (0.05, [0.9, 0.95])
    assert (config["model"]["vae_precision"], config["model"]["attention"], config["seed"]) == ("fp32", "sdpa", 7)
    page = Path("sweeps/gui_lora.conversion.md").read_text()
    assert "| `model_list` | only the GUI reads it |" in page
    assert "save it as a file and give sample.prompts=FILE" in page


@pytest.mark.parametrize(
    ("kind", "target", "preset"),
    [("Standard", "LoCon", "attn-mlp"), ("Kohya LoCon", "LoCon", "blocks"), ("LyCORIS/LoHa", "LoHa", "full")],
)
def test_the_kinds_of_lora(kind: str, target: str, preset: str) -> None:
    content = _GUI | {"LoRA_type": kind, "additional_parameters": "", "max_train_steps": 500}
    Path("gui.json").write_text(json.dumps(content))
    assert main(["gui.json"]) == 0
    config = compose(["+sweep=gui_lora"]).config
    assert config["network"]["_target_"].endswith(target)
    assert config["network"]["preset"] == preset
    assert (config["train"]["steps"], config["train"]["epochs"]) == (500, None)


def test_a_file_from_before_sdxl_is_for_stable_diffusion_1_5() -> None:
    content = {key: value for key, value in _GUI.items() if key not in ("sdxl", "additional_parameters")}
    Path("gui.json").write_text(json.dumps(content | {"dynamo_backend": "no"}))
    assert main(["gui.json"]) == 0
    assert compose(["+sweep=gui_lora"]).config["model"]["name"] == "sd15"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", json.dumps(_GUI | {"LoRA_type": "LoRA-FA"}), "LoRA_type=LoRA-FA"),
        ("a.json", json.dumps(_GUI | {"flux1_checkbox": True}), "flux1_checkbox"),
        ("a.json", json.dumps(_GUI | {"sdxl": "yes"}), "sdxl=yes: write true or false"),
        ("a.json", json.dumps(_GUI | {"optimizer_args": 'a="'}), "optimizer_args"),
        ("a.json", "{", "not JSON"),
        ("a.toml", "= 3", "not TOML"),
        ("a.json", "[3]", "not a settings file"),
        ("a.toml", "x = 3", "not a settings file"),
        ("a.toml", "[[datasets]]\nresolution = 512", "is a --dataset_config"),
        (
            "a.toml",
            'network_module = "networks.lora"\nnetwork_dim = 8\nresolution = "512"',
            "type: convert -- sdxl_train_network.py --config_file=a.toml",
        ),
        ("a.yaml", "x: 3", "settings file of another trainer"),
        ("a.py", "import os", "a Python script is not followed"),
    ],
)
def test_another_file_is_told_what_it_is(name: str, text: str, said: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(UserError) as refused:
        main([name])
    assert said in str(refused.value)


def test_a_file_of_flags_that_names_its_model_is_converted_and_its_guis_keys_are_no_error() -> None:
    Path("flags.toml").write_text(
        'model_train_type = "sdxl-lora"\nepoch = 3\nnoise_offset_type = "Original"\nmax_token_length = 255\n'
        'pretrained_model_name_or_path = "/m.safetensors"\ntrain_data_dir = "/d"\nresolution = "1024,1024"\n'
        'network_module = "networks.lora"\noutput_name = "flags"\nvae = ""\nresume = false\n'
    )
    assert main(["flags.toml"]) == 0
    config = compose(["+sweep=flags"]).config
    assert (config["model"]["name"], config["model"]["max_tokens"]) == ("sdxl", 225)
