"""The shipped demo sets and the shipped model are whole and agree with each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

import sweeplora

ASSETS = Path(sweeplora.__file__).parent / "assets"
MODEL = ASSETS / "models" / "emoji-xl"
SETS = {"twemoji-style": ("twemoji style", 48, 16), "new-subject": ("mimi cat", 18, 6)}


def _captions(name: str, part: str) -> dict[str, str]:
    return {path.stem: path.read_text("utf-8").strip() for path in (ASSETS / "data" / name / part).glob("*.txt")}


@pytest.mark.parametrize("name", SETS)
def test_every_image_has_a_caption_with_the_trigger_first(name: str) -> None:
    trigger, *counts = SETS[name]
    for part, count in zip(("train", "val"), counts, strict=True):
        captions = _captions(name, part)
        assert captions.keys() == {path.stem for path in (ASSETS / "data" / name / part).glob("*.png")}
        assert len(captions) == count
        assert all(caption.startswith(f"{trigger}, ") for caption in captions.values())


@pytest.mark.parametrize("name", SETS)
def test_held_out_subjects_are_not_among_the_training_images(name: str) -> None:
    assert not set(_captions(name, "train").values()) & set(_captions(name, "val").values())


@pytest.mark.parametrize("name", SETS)
def test_images_are_rgb_and_of_several_shapes(name: str) -> None:
    shapes = set()
    for path in (ASSETS / "data" / name).rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "RGB"
            shapes.add((image.width > image.height) - (image.width < image.height))
    assert shapes == {-1, 0, 1}


def test_the_model_holds_the_parts_of_sdxl() -> None:
    index = json.loads((MODEL / "model_index.json").read_text("utf-8"))
    parts = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    assert [index[part][1] for part in parts] == [
        "UNet2DConditionModel",
        "AutoencoderKL",
        "CLIPTextModel",
        "CLIPTextModelWithProjection",
        "CLIPTokenizer",
        "CLIPTokenizer",
        "EulerDiscreteScheduler",
    ]
    assert all((MODEL / part).is_dir() for part in parts)


def test_the_text_configs_name_the_tokenizers_own_ids() -> None:
    for encoder, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        config = json.loads((MODEL / encoder / "config.json").read_text("utf-8"))
        vocabulary = json.loads((MODEL / tokenizer / "vocab.json").read_text("utf-8"))
        settings = json.loads((MODEL / tokenizer / "tokenizer_config.json").read_text("utf-8"))
        ids = [config[f"{kind}_token_id"] for kind in ("bos", "eos", "pad")]
        assert ids == [vocabulary[settings[f"{kind}_token"]] for kind in ("bos", "eos", "pad")]
        assert (config["vocab_size"], config["max_position_embeddings"]) == (len(vocabulary), 77)


def test_models_and_data_together_stay_small() -> None:
    size = sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file())
    assert size < 28e6
