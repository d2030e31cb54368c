"""What a model's configuration asks for beside its path: another VAE, merged files, attention."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sweeplora.errors import UserError
from sweeplora.networks.file.fit import check_mergeable
from sweeplora.networks.merged_base import merge
from tests.models import originals_of
from tests.models.families import CPU, load, sd15, sdxl


@pytest.fixture(scope="module")
def vae(tiny_model: Path) -> dict[str, torch.Tensor]:
    """The tiny model's VAE in the original layout, changed a little."""
    tensors = originals_of.vae(originals_of.load(tiny_model / "vae"))
    return {name: (tensor * 1.25).contiguous() for name, tensor in tensors.items()}


def decoded(model: Any) -> torch.Tensor:
    with torch.no_grad():
        image: torch.Tensor = model.vae.decode(torch.full((1, 4, 8, 8), 0.3)).sample
    return image


def test_another_vae_may_be_one_file_in_any_of_its_forms(
    vae: dict[str, torch.Tensor], tiny_model: Path, tmp_path: Path
) -> None:
    own = load(tiny_model)
    folder = Path(shutil.copytree(tiny_model / "vae", tmp_path / "vae"))
    names = load_file(folder / "diffusion_pytorch_model.safetensors")
    save_file({name: tensor * 1.25 for name, tensor in names.items()}, folder / "diffusion_pytorch_model.safetensors")
    save_file(vae, tmp_path / "bare.safetensors")
    save_file({f"first_stage_model.{name}": tensor for name, tensor in vae.items()}, tmp_path / "whole.safetensors")
    torch.save({"state_dict": {**vae, "loss.logvar": torch.zeros(1)}}, tmp_path / "bare.ckpt")
    torch.save(vae, tmp_path / "bare.pt")
    former = {name.replace(".to_q.", ".query.").replace(".to_out.0.", ".proj_attn."): t for name, t in names.items()}
    save_file({name: tensor * 1.25 for name, tensor in former.items()}, tmp_path / "diffusers.safetensors")
    expected = decoded(load(tiny_model, vae=str(folder)))
    assert not torch.allclose(expected, decoded(own))
    for file in ("bare.safetensors", "whole.safetensors", "bare.ckpt", "bare.pt", "diffusers.safetensors"):
        model = load(tiny_model, vae=str(tmp_path / file))
        assert torch.equal(decoded(model), expected), file
        assert model.facts.vae.config["scaling_factor"] == 0.13025
        assert tmp_path / file in model.vae_paths and tmp_path / file in model.facts.files


def test_a_file_that_is_no_vae_is_refused(vae: dict[str, torch.Tensor], tiny_model: Path, tmp_path: Path) -> None:
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2)}, tmp_path / "lora.safetensors")
    save_file({k: v for k, v in vae.items() if "quant" not in k}, tmp_path / "cut.safetensors")
    save_file({**vae, "decoder.conv_in.weight": torch.zeros(16, 16, 3, 3)}, tmp_path / "flux.safetensors")
    for file, words in (
        ("lora.safetensors", "it is a LoRA; give a VAE"),
        ("cut.safetensors", "lacks 4 of"),
        ("flux.safetensors", "it makes 16 channels, the U-Net takes 4"),
    ):
        with pytest.raises(UserError) as caught:
            sdxl(tiny_model, vae=str(tmp_path / file)).facts()
        assert caught.value.key == "model.vae" and words in str(caught.value)


def test_a_vae_folder_of_an_older_diffusers_loads(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model / "vae", tmp_path / "vae"))
    file = folder / "diffusion_pytorch_model.safetensors"
    former = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    tensors = load_file(file)
    for new, old in former.items():
        tensors = {name.replace(new, old): tensor for name, tensor in tensors.items()}
    save_file(tensors, file)
    assert torch.equal(decoded(load(tiny_model, vae=str(folder))), decoded(load(tiny_model)))


def lora(file: Path) -> Path:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    tensors = {
        f"{name}.lora_up.weight": torch.ones(32, 2),
        f"{name}.lora_down.weight": torch.ones(2, 32),
        f"{name}.alpha": torch.tensor(1.0),
    }
    save_file(tensors, file, {"ss_network_dim": "2"})
    return file


def test_base_weights_are_merged_in_at_their_multipliers(tiny_sd15: Path, tmp_path: Path) -> None:
    file = lora(tmp_path / "a.safetensors")
    plain = sd15(tiny_sd15).load(CPU)
    base = sd15(tiny_sd15, base_weights=[str(file), str(file)], base_weights_multiplier=[0.5, -2.0])
    files, multipliers = zip(*base.merged, strict=True)
    merged = base.load(CPU)
    merge(merged, files, multipliers)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
    moved = merged.unet.state_dict()[name] - plain.unet.state_dict()[name]
    torch.testing.assert_close(moved, torch.full((32, 32), -1.5))  # up @ down is 2, alpha / rank a half
    others = [n for n in merged.unet.state_dict() if n != name]
    assert all(torch.equal(merged.unet.state_dict()[n], plain.unet.state_dict()[n]) for n in others[::40])
    assert file in base.facts().files


def test_base_weights_that_cannot_be_merged_are_refused(tiny_sd15: Path, tmp_path: Path) -> None:
    file = str(lora(tmp_path / "a.safetensors"))
    for changes, key in (
        ({"base_weights": [str(tmp_path / "none.safetensors")]}, "model.base_weights"),
        ({"base_weights": [file], "base_weights_multiplier": [1.0, 2.0]}, "model.base_weights_multiplier"),
        ({"base_weights_multiplier": [1.0]}, "model.base_weights_multiplier"),
    ):
        with pytest.raises(UserError) as caught:
            base = sd15(tiny_sd15, **changes)
            check_mergeable("model.base_weights", [file for file, _ in base.merged], base.facts())
        assert caught.value.key == key


@pytest.mark.skipif(find_spec("xformers") is not None, reason="it is installed")
def test_xformers_that_are_not_installed_are_refused(tiny_sd15: Path) -> None:
    with pytest.raises(UserError, match=r"model\.attention=xformers"):
        sd15(tiny_sd15, attention="xformers").facts()


def test_sliced_attention_predicts_the_same(tiny_sd15: Path) -> None:
    one, other = sd15(tiny_sd15).load(CPU), sd15(tiny_sd15, attention="sliced").load(CPU)
    noisy, sizes = torch.randn(1, 4, 16, 16), torch.zeros(1, 6)
    with torch.no_grad():
        text = one.encode_text(["a"])
        first, second = (m.predict(noisy, torch.tensor([5]), text, sizes) for m in (one, other))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_an_inpainting_and_an_sd2_folder_are_refused(tiny_sd15: Path, tmp_path: Path) -> None:
    for part, change, words in (
        ("unet", {"in_channels": 9}, "takes 9 channels"),
        ("text_encoder", {"hidden_act": "gelu"}, "an SD 2 model's"),
    ):
        folder = Path(shutil.copytree(tiny_sd15, tmp_path / part))
        config = folder / part / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
        with pytest.raises(UserError, match=words):
            sd15(folder).facts()


def test_weights_that_do_not_fit_their_config_are_named(tiny_sd15: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_sd15, tmp_path / "model"))
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({name: tensor for name, tensor in tensors.items() if "conv_out" not in name}, file)
    with pytest.raises(UserError, match=r"lacks 2 of \d+ tensors, first conv_out\.weight"):
        sd15(folder).load(CPU)
    save_file({**tensors, "conv_out.bias": torch.zeros(7)}, file)
    with pytest.raises(UserError, match=r"conv_out\.bias is \[7\], its config says \[4\]"):
        sd15(folder).load(CPU)
