"""The random tiny model is whole, of SDXL's shape, and follows from its seed."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file

from sweeplora.models import tiny
from tests.models.families import load


def test_diffusers_opens_it_and_draws(tiny_model: Path) -> None:
    pipe = StableDiffusionXLPipeline.from_pretrained(tiny_model)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("red apple", num_inference_steps=1, generator=torch.Generator().manual_seed(0), output_type="np")
    assert image.images.shape == (1, 64, 64, 3)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(11)
    again, other = tiny.build(tmp_path / "again"), tiny.build(tmp_path / "other", seed=1)
    name = "text_encoder_2/model.safetensors"
    first, second, third = (load_file(folder / name) for folder in (tiny_model, again, other))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not all(torch.equal(first[key], third[key]) for key in first)


def test_building_leaves_torchs_generator_and_no_half_made_folder(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tiny.build(tmp_path / "deep" / "model")
    assert torch.equal(torch.rand(3), expected)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["model"]


def test_any_text_has_tokens_of_its_own(tiny_model: Path) -> None:
    model = load(tiny_model)
    for tokenizer in model.tokenizers:
        text = "".join(chr(code) for code in range(34, 127)) + " é 猫"
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids[1:-1]
        assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.lower().replace(" ", "")
        assert tokenizer.model_max_length == 77


def test_the_vaes_latents_have_unit_deviation(tiny_model: Path) -> None:
    model = load(tiny_model)
    coarse = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with torch.no_grad():
        mean, _ = model.encode_images(torch.nn.functional.interpolate(coarse, scale_factor=8, mode="bilinear"))
    assert 0.7 < float(mean.std()) < 1.4
