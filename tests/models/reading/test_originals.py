"""Names of one-file models of the real architectures at small width, against the converters that diffusers has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.models.facts import ModelFacts, Part
from sweeplora.models.reading.inferred_config import shared
from sweeplora.tensors.reading import read_tensors
from tests.models import families, originals_of
from tests.models.families import CPU

WIDTHS = {"sdxl": (32, 64, 128), "sd15": (32, 64, 128, 128)}
UNETS: dict[str, dict[str, Any]] = {
    "sdxl": {
        "block_out_channels": WIDTHS["sdxl"],
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (1, 1, 2),
        "cross_attention_dim": 128,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64 + 6 * 8,
    },
    "sd15": {"block_out_channels": WIDTHS["sd15"], "attention_head_dim": 8, "cross_attention_dim": 64},
}
TOKENS: dict[str, Any] = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}


class Real(NamedTuple):
    """A model of a real architecture: the file, its tensors there, and the parts that it was made from."""

    file: Path
    originals: dict[str, Tensor]
    unet: Any
    vae: Any
    encoders: tuple[Any, ...]


def text_config(layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=64,
        intermediate_size=128,
        projection_dim=64,
        num_hidden_layers=layers,
        num_attention_heads=1,
        **TOKENS,
    )


@pytest.fixture(scope="module", params=["sdxl", "sd15"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Depth, levels and layers of the real model; only the channels are few."""
    kind: str = request.param
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        unet = UNet2DConditionModel.from_config({**shared(kind, "unet"), **UNETS[kind]})
        vae = AutoencoderKL(
            block_out_channels=(8, 16, 32, 32),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            norm_num_groups=8,
        )
        encoders: list[nn.Module] = [CLIPTextModel(text_config(12))]
        if kind == "sdxl":
            encoders.append(CLIPTextModelWithProjection(text_config(32)))
    first = "conditioner.embedders.0.transformer." if kind == "sdxl" else "cond_stage_model.transformer."
    found = {f"model.diffusion_model.{k}": v for k, v in originals_of.unet(unet.state_dict()).items()}
    found |= {f"first_stage_model.{k}": v for k, v in originals_of.vae(vae.state_dict()).items()}
    found |= {f"{first}text_model.{k}": v for k, v in encoders[0].state_dict().items()}
    if kind == "sdxl":
        second = originals_of.open_clip(encoders[1].state_dict())
        found |= {f"conditioner.embedders.1.model.{k}": v for k, v in second.items()}
    file = tmp_path_factory.mktemp("real") / f"{kind}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, file)
    yield Real(file, found, unet, vae, tuple(encoders))


@pytest.fixture
def facts(real: Real) -> ModelFacts:
    return families.sdxl(real.file).facts() if len(real.encoders) == 2 else families.sd15(real.file).facts()


def tensors(part: Part) -> dict[str, Tensor]:
    return dict(read_tensors(part.tensors, CPU))


def equal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def without_text_model(found: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("text_model."): tensor for name, tensor in found.items()}


def test_the_architectures_have_the_real_numbers_of_tensors(real: Real, facts: ModelFacts) -> None:
    counts = [len(facts.unet.tensors), len(facts.vae.tensors), *(len(part.tensors) for part in facts.text_encoders)]
    assert counts == ([1680, 248, 196, 517] if len(real.encoders) == 2 else [686, 248, 196])


def test_every_part_has_the_tensors_that_diffusers_converters_give(real: Real, facts: ModelFacts) -> None:
    copy = {name: tensor.clone() for name, tensor in real.originals.items()}
    assert equal(tensors(facts.unet), convert_ldm_unet_checkpoint(dict(copy), dict(real.unet.config)))
    assert equal(tensors(facts.vae), convert_ldm_vae_checkpoint(dict(copy), dict(real.vae.config)))
    first = without_text_model(convert_ldm_clip_checkpoint(dict(copy)))
    assert equal(tensors(facts.text_encoders[0]), first)
    if len(real.encoders) == 2:
        second = convert_open_clip_checkpoint(real.encoders[1], dict(copy), prefix="conditioner.embedders.1.model.")
        assert equal(without_text_model(tensors(facts.text_encoders[1])), without_text_model(second))


def test_every_part_is_built_as_it_was_made(real: Real, facts: ModelFacts) -> None:
    made = zip((facts.unet, facts.vae, *facts.text_encoders), (real.unet, real.vae, *real.encoders), strict=True)
    for part, module in made:
        assert equal(tensors(part), dict(module.state_dict()))
    for key in ("block_out_channels", "cross_attention_dim", "addition_time_embed_dim", "down_block_types"):
        here = facts.unet.config.get(key)
        assert (list(here) if isinstance(here, (list, tuple)) else here) == _plain(real.unet.config[key])
    assert [part.config["num_attention_heads"] for part in facts.text_encoders] == [1] * len(real.encoders)
    assert facts.scale_factor == 8
    assert facts.resolution == (1024 if len(real.encoders) == 2 else 512)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
