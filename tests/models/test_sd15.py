"""SD 1.5 in parts does what diffusers' whole pipeline does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from tests.models.families import CPU, sd15

PROMPTS = ["red apple, food", "x" * 200, ""]


@pytest.fixture(scope="module")
def model(tiny_sd15: Path) -> Family:
    return sd15(tiny_sd15).load(CPU)


@pytest.fixture(scope="module")
def pipe(tiny_sd15: Path) -> Any:
    return StableDiffusionPipeline.from_pretrained(tiny_sd15)


def test_its_facts(tiny_sd15: Path) -> None:
    facts = sd15(tiny_sd15).facts()
    assert (facts.layout.name, facts.layout.encoder_prefixes, facts.layout.num_blocks) == ("sd15", ("lora_te",), 25)
    assert (facts.resolution, facts.scale_factor, facts.divisor, facts.latent_channels) == (64, 4, 32, 4)
    assert len(facts.text_encoders) == len(facts.tokenizers) == 1


def test_captions_are_encoded_as_the_pipeline_does(model: Family, pipe: Any) -> None:
    with torch.no_grad():
        hidden, empty = pipe.encode_prompt(PROMPTS, "cpu", 1, True)
        text, nothing = model.encode_text(PROMPTS), model.unconditional(3)
    assert torch.equal(text.hidden, hidden) and torch.equal(nothing.hidden, empty)
    assert text.pooled.shape == nothing.pooled.shape == (3, 0)
    assert bool(nothing.hidden.any())


def test_a_skipped_layer_is_as_if_it_were_not_there(tiny_sd15: Path, model: Family) -> None:
    shorter = sd15(tiny_sd15).load(CPU)
    del shorter.text_encoders[0].get_submodule("encoder.layers")[-1]
    with torch.no_grad():
        skipped = sd15(tiny_sd15, clip_skip=2).load(CPU).encode_text(PROMPTS).hidden
        assert torch.equal(skipped, shorter.encode_text(PROMPTS).hidden)
        assert not torch.allclose(skipped, model.encode_text(PROMPTS).hidden, atol=1e-3)


def test_more_layers_skipped_than_there_are_is_refused(tiny_sd15: Path) -> None:
    with pytest.raises(UserError, match=r"model\.clip_skip=3: the text encoder has 2 layers"):
        sd15(tiny_sd15, clip_skip=3).facts()


def test_the_prediction_is_the_unets_own_and_sizes_change_nothing(model: Family, pipe: Any) -> None:
    noisy, timesteps = torch.randn(3, 4, 16, 24), torch.tensor([0, 500, 999])
    sizes = torch.tensor([[100.0, 60.0, 4.0, 0.0, 48.0, 80.0]] * 3)
    with torch.no_grad():
        text = model.encode_text(PROMPTS)
        ours = model.predict(noisy, timesteps, text, sizes)
        assert torch.equal(ours, pipe.unet(noisy, timesteps, text.hidden).sample)
        assert torch.equal(ours, model.predict(noisy, timesteps, text, sizes.flip(1)))


def test_long_captions_reach_the_unet(tiny_sd15: Path) -> None:
    model = sd15(tiny_sd15, max_tokens=225).load(CPU)
    with torch.no_grad():
        text = model.encode_text(["tok " * 60])
        output = model.predict(torch.randn(1, 4, 16, 16), torch.tensor([10]), text, torch.zeros(1, 6))
    assert text.hidden.shape[1] == model.token_limit == 227
    assert bool(output.isfinite().all())


def test_v_prediction_and_zero_terminal_snr_can_be_had(tiny_sd15: Path) -> None:
    model = sd15(tiny_sd15, prediction="v_prediction", zero_terminal_snr=True).load(CPU)
    assert (model.prediction, float(model.alphas_cumprod[-1])) == ("v_prediction", 0.0)


def test_an_sdxl_folder_is_refused(tiny_model: Path) -> None:
    with pytest.raises(UserError, match=r"unet/config\.json is not SD 1\.5's"):
        sd15(tiny_model).facts()
