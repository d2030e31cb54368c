"""SDXL in parts does what diffusers' whole pipeline does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from diffusers.schedulers.scheduling_euler_discrete import rescale_zero_terminal_snr

from sweeplora.models.family import Family
from tests.models.families import CPU, load, sdxl

PROMPTS = ["red apple, food", "x" * 200, ""]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Family:
    return load(tiny_model)


@pytest.fixture(scope="module")
def pipe(tiny_model: Path) -> Any:
    return StableDiffusionXLPipeline.from_pretrained(tiny_model)


def test_captions_are_encoded_as_the_pipeline_does(model: Family, pipe: Any) -> None:
    with torch.no_grad():
        hidden, zero_hidden, pooled, zero_pooled = pipe.encode_prompt(PROMPTS, device="cpu")
        text, nothing = model.encode_text(PROMPTS), model.unconditional(3)
    assert torch.equal(text.hidden, hidden) and torch.equal(text.pooled, pooled)
    assert torch.equal(nothing.hidden, zero_hidden) and torch.equal(nothing.pooled, zero_pooled)
    assert not nothing.hidden.any()


def test_different_captions_pool_differently(model: Family) -> None:
    pooled = model.encode_text(["red apple", "rocket", ""]).pooled
    assert float(torch.pdist(pooled).min()) > 0.1


def test_a_model_without_forced_zeros_encodes_the_empty_text(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "force_zeros_for_empty_prompt": False}))
    other = load(folder)
    with torch.no_grad():
        assert torch.equal(other.unconditional(2).hidden, other.encode_text(["", ""]).hidden)


def test_the_prediction_is_the_unets_own(model: Family, pipe: Any) -> None:
    noisy = torch.randn(3, 4, 12, 20)
    timesteps = torch.tensor([0, 500, 999])
    sizes = torch.tensor([[100.0, 60.0, 4.0, 0.0, 48.0, 80.0]] * 3)
    with torch.no_grad():
        text = model.encode_text(PROMPTS)
        ours = model.predict(noisy, timesteps, text, sizes)
        conditions = {"text_embeds": text.pooled, "time_ids": sizes}
        theirs = pipe.unet(noisy, timesteps, text.hidden, added_cond_kwargs=conditions).sample
        swapped = model.predict(noisy, timesteps, text, sizes.flip(1))
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, swapped)


def test_latents_are_the_scaled_posterior_and_decode_to_the_vaes_picture(model: Family, pipe: Any) -> None:
    pixels = torch.rand(2, 3, 48, 64) * 2 - 1
    with torch.no_grad():
        mean, std = model.encode_images(pixels)
        posterior = pipe.vae.encode(pixels).latent_dist
        image = model.decode(mean)
        reference = pipe.image_processor.postprocess(pipe.vae.decode(posterior.mode()).sample, "pt")
    factor = pipe.vae.config.scaling_factor
    torch.testing.assert_close(mean, posterior.mode() * factor)
    torch.testing.assert_close(std, posterior.std * factor)
    torch.testing.assert_close(image, reference, rtol=1e-4, atol=1e-5)
    assert image.shape == (2, 3, 48, 64) and 0 <= float(image.min()) <= float(image.max()) <= 1


def test_another_vae_takes_the_place_of_the_models_own(tiny_model: Path, tmp_path: Path, model: Family) -> None:
    vae = Path(shutil.copytree(tiny_model / "vae", tmp_path / "vae"))
    config = json.loads((vae / "config.json").read_text())
    (vae / "config.json").write_text(
        json.dumps({**config, "scaling_factor": config["scaling_factor"] * 3, "shift_factor": 0.25})
    )
    other = load(tiny_model, vae=str(vae))
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        (mine, _), (theirs, _) = model.encode_images(pixels), other.encode_images(pixels)
        torch.testing.assert_close(theirs, 3 * (mine - 0.25 * config["scaling_factor"]))
        torch.testing.assert_close(other.decode(theirs), model.decode(mine), rtol=1e-4, atol=1e-5)
    assert {path.parent for path in other.vae_paths} == {vae}


def test_the_schedule_is_the_schedulers(model: Family, tiny_model: Path) -> None:
    scheduler = EulerDiscreteScheduler.from_pretrained(tiny_model, subfolder="scheduler")
    torch.testing.assert_close(model.alphas_cumprod.float(), scheduler.alphas_cumprod, rtol=1e-5, atol=1e-6)
    assert model.alphas_cumprod.shape == (1000,)
    assert model.prediction == "epsilon"


def test_zero_terminal_snr_ends_in_pure_noise(model: Family, tiny_model: Path) -> None:
    rescaled = load(tiny_model, prediction="v_prediction", zero_terminal_snr=True)
    products = rescaled.alphas_cumprod
    assert products[-1] == 0
    torch.testing.assert_close(products[0], model.alphas_cumprod[0])
    assert bool((products.diff() < 0).all())
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    reference = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
    torch.testing.assert_close(products, reference, rtol=1e-9, atol=1e-12)
    assert rescaled.scheduler_config["rescale_betas_zero_snr"] is True


def test_a_models_own_zero_terminal_snr_is_kept(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    file = folder / "scheduler/scheduler_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}))
    model = load(folder)
    assert (model.prediction, float(model.alphas_cumprod[-1])) == ("v_prediction", 0.0)


def test_half_precision_leaves_the_vae_whole_and_answers_in_float32(tiny_model: Path) -> None:
    model = load(tiny_model)
    for part in (model.unet, *model.text_encoders):
        part.to(torch.bfloat16)
    assert model.unet.dtype == torch.bfloat16
    assert model.vae.dtype == torch.float32
    with torch.no_grad():
        text = model.encode_text(PROMPTS)
        output = model.predict(torch.randn(3, 4, 16, 16), torch.tensor([1, 2, 3]), text, torch.full((3, 6), 64.0))
        mean, std = model.encode_images(torch.rand(1, 3, 64, 64))
    assert {t.dtype for t in (*text, output, mean, std, model.decode(mean))} == {torch.float32}
    assert bool(output.isfinite().all())


def test_the_unet_may_be_read_in_half_precision_at_once(tiny_model: Path, model: Family) -> None:
    half = sdxl(tiny_model).load(CPU, torch.bfloat16)
    for name, tensor in half.unet.state_dict().items():
        assert torch.equal(tensor, model.unet.state_dict()[name].bfloat16())
    assert {p.dtype for part in (half.vae, *half.text_encoders) for p in part.parameters()} == {torch.float32}


def test_weights_go_straight_to_the_device_that_is_named(tiny_model: Path) -> None:
    nowhere = sdxl(tiny_model).load(torch.device("meta"))
    for part in (nowhere.unet, nowhere.vae, *nowhere.text_encoders):
        assert {tensor.device.type for tensor in (*part.parameters(), *part.buffers())} == {"meta"}


def test_the_base_is_frozen_and_evaluates(model: Family) -> None:
    for part in (model.unet, model.vae, *model.text_encoders):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())
