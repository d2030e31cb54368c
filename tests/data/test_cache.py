"""The cache: what is made, what is found again, and what makes it anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sweeplora.data.cache import Cache, captions_of
from sweeplora.data.index import Dataset
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several
from tests.data.toy import Toy


def _silent(_what: str, _done: int, _missing: int) -> None:
    pass


def _dataset(folder: Path, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


def _latents(root: Path, dataset: Dataset, toy: Toy, vae_hash: str = "v") -> int:
    """How many images were encoded."""
    before = toy.images
    Cache(root, _silent).latents(dataset, toy, vae_hash)
    return toy.images - before


def test_latents_are_those_of_the_image(tmp_path: Path) -> None:
    path = picture(tmp_path / "set" / "a.png")
    dataset = _dataset(tmp_path / "set")
    mean, std = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v").posterior(dataset.train[0], False)
    levels = np.asarray(Image.open(path)).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(mean, levels.reshape(3, 16, 4, 16, 4).mean((2, 4)), atol=1e-6)
    assert bool((std == 0.5).all())


def test_images_are_encoded_once_for_all_runs(tmp_path: Path) -> None:
    dataset = _dataset(several(tmp_path / "set", 5), val_split=0.2)
    toy = Toy()
    assert _latents(tmp_path / "cache", dataset, toy) == 5
    assert _latents(tmp_path / "cache", dataset, toy) == 0
    (tmp_path / "set").rename(tmp_path / "moved")
    assert _latents(tmp_path / "cache", _dataset(tmp_path / "moved"), toy) == 0


def test_another_vae_precision_bucket_or_image_is_encoded_anew(tmp_path: Path) -> None:
    several(tmp_path / "set", 3)
    toy, cache = Toy(), tmp_path / "cache"
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 3
    assert _latents(cache, _dataset(tmp_path / "set"), toy, "another") == 3
    assert _latents(cache, _dataset(tmp_path / "set", resolution=128), toy) == 3
    toy.vae.half()
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 3
    toy.vae.float()
    picture(tmp_path / "set" / "000.png", seed=50)
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 1


def test_mirrored_images_keep_latents_of_their_own(tmp_path: Path) -> None:
    several(tmp_path / "set", 4)
    dataset = _dataset(tmp_path / "set", flip=True, val_split=0.25)
    toy = Toy()
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, toy, "v")
    assert toy.images == 3 * 2 + 1
    plain, mirrored = (latents.posterior(dataset.train[0], flip)[0] for flip in (False, True))
    torch.testing.assert_close(mirrored, plain.flip(-1))


def test_an_entry_does_not_depend_on_what_it_was_made_with(tmp_path: Path) -> None:
    several(tmp_path / "many", 4)
    picture(tmp_path / "one" / "x.png", seed=2)
    contents = []
    for name in ("many", "one"):
        cache = tmp_path / f"cache-{name}"
        _latents(cache, _dataset(tmp_path / name), Toy())
        contents.append({path.name: path.read_bytes() for path in cache.rglob("*.safetensors")})
    assert set(contents[1].items()) <= set(contents[0].items())


def test_equal_captions_are_encoded_once_for_all_runs(tmp_path: Path) -> None:
    for number, caption in enumerate(("cat", "dog", "cat")):
        picture(tmp_path / "set" / f"{number}.png", caption=caption, seed=number)
    captions = captions_of(_dataset(tmp_path / "set", caption_prefix="a"))
    assert captions == ["a cat", "a dog"]
    toy = Toy()
    for _ in range(2):
        texts = Cache(tmp_path / "cache", _silent).texts(captions, toy, "e", "cpu")
    assert toy.captions == captions
    text = texts.encode(["a dog", "a cat", "a dog"])
    expected = Toy()
    expected.text_encoders = toy.text_encoders
    assert torch.equal(text.hidden, expected.encode_text(["a dog", "a cat", "a dog"]).hidden)
    assert text.pooled.shape == (3, 1)
    assert not text.hidden.requires_grad
    Cache(tmp_path / "cache", _silent).texts(captions, toy, "other encoders", "cpu")
    assert toy.captions == captions * 2


def test_an_image_that_changes_before_it_is_encoded_is_refused_and_not_kept(tmp_path: Path) -> None:
    dataset = _dataset(several(tmp_path / "set", 2))
    picture(tmp_path / "set" / "001.png", seed=60)
    with pytest.raises(UserError, match=r"001.png: the image has changed"):
        _latents(tmp_path / "cache", dataset, Toy())
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) <= 1


def test_latents_that_overflow_are_refused_and_not_kept(tmp_path: Path) -> None:
    class Overflowing(Toy):
        def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, std = super().encode_images(pixels)
            return mean / 0, std

    dataset = _dataset(several(tmp_path / "set", 1))
    with pytest.raises(UserError, match=r"000.png: the VAE's latents are not finite"):
        _latents(tmp_path / "cache", dataset, Overflowing())
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_progress_is_told_what_is_made(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    dataset = _dataset(several(tmp_path / "set", 3))
    Cache(tmp_path / "cache", lambda *step: told.append(step)).latents(dataset, Toy(), "v")
    assert told == [("latents", 1, 3), ("latents", 2, 3), ("latents", 3, 3)]
