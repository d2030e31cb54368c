"""The cache: what is made, what is found again, and what makes it anew."""

from __future__ import annotations

import importlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sweeplora.data.cache import Cache, captions_of
from sweeplora.data.dataset import Dataset, Picture
from sweeplora.data.latents import Latents
from sweeplora.data.pixels import centre_view
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several
from tests.data.toy import Toy
from tests.forked import in_a_process
from tests.sweep.commands import until

Stamp = tuple[int, int]


def _silent(_what: str, _done: int, _missing: int) -> None:
    pass


def _dataset(folder: Path, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


def _latents(root: Path, dataset: Dataset, toy: Toy, vae_hash: str = "v") -> int:
    """How many images were encoded."""
    before = toy.images
    Cache(root, _silent).latents(dataset, toy, vae_hash)
    return toy.images - before


def _posterior(latents: Latents, one: Picture, flip: bool = False) -> torch.Tensor:
    return latents.posteriors([latents.fetch(one, centre_view(one, flip)).content])[0]


def _entries(root: Path, kind: str) -> dict[str, Stamp]:
    """When and as which file each entry was written."""
    files = (root / kind).rglob("*.safetensors")
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def test_latents_are_those_of_the_image(tmp_path: Path) -> None:
    path = picture(tmp_path / "set" / "a.png")
    dataset = _dataset(tmp_path / "set")
    mean, std = _posterior(Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v"), dataset.train[0])
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


def test_only_an_edited_image_and_an_edited_caption_are_encoded_again(tmp_path: Path) -> None:
    folder, cache = several(tmp_path / "set", 4), Cache(tmp_path / "cache", _silent)

    def encode() -> tuple[dict[str, Stamp], dict[str, Stamp]]:
        dataset = _dataset(folder, vae_batch_size=2)
        cache.latents(dataset, Toy(), "v")
        cache.texts(dataset, Toy(), "e", "cpu")
        return _entries(tmp_path / "cache", "latents"), _entries(tmp_path / "cache", "texts")

    first = encode()
    assert [len(entries) for entries in first] == [4, 4]
    assert encode() == first
    picture(folder / "001.png", seed=77, caption="tag 1, other")
    (folder / "002.txt").write_text("another caption")
    second = encode()
    for before, after in zip(first, second, strict=True):
        assert before.items() <= after.items()  # the same files: none was written again
        assert len(after) == len(before) + 1


def test_another_vae_precision_bucket_crop_or_image_is_encoded_anew(tmp_path: Path) -> None:
    several(tmp_path / "set", 3)
    toy, cache = Toy(), tmp_path / "cache"
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 3
    assert _latents(cache, _dataset(tmp_path / "set"), toy, "another") == 3
    assert _latents(cache, _dataset(tmp_path / "set", resolution=128), toy) == 3
    assert _latents(cache, _dataset(tmp_path / "set", alpha_mask=True), toy) == 3
    assert _latents(cache, _dataset(tmp_path / "set", vae_batch_size=3), toy) == 3
    toy.vae.half()
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 3
    toy.vae.float()
    picture(tmp_path / "set" / "000.png", seed=50)
    assert _latents(cache, _dataset(tmp_path / "set"), toy) == 1


def test_an_image_cut_after_another_scaling_is_encoded_anew(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", (72, 80))
    toy = Toy()
    # into a square of 64 it shrinks; kept at its own size it is cut to the same bucket
    scaled = _dataset(tmp_path / "set", bucket=False)
    own = _dataset(tmp_path / "set", resolution=96, bucket_no_upscale=True, bucket_step=64)
    assert scaled.train[0].bucket == own.train[0].bucket == (64, 64)
    assert scaled.train[0].scaled != own.train[0].scaled
    assert _latents(tmp_path / "cache", scaled, toy) == 1
    assert _latents(tmp_path / "cache", own, toy) == 1


def test_mirrored_images_keep_latents_of_their_own(tmp_path: Path) -> None:
    several(tmp_path / "set", 4)
    dataset = _dataset(tmp_path / "set", flip=True, val_split=0.25)
    toy = Toy()
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, toy, "v")
    assert toy.images == 3 * 2 + 1
    plain, mirrored = (_posterior(latents, dataset.train[0], flip) for flip in (False, True))
    torch.testing.assert_close(mirrored, plain.flip(-1))


def test_batches_hold_one_bucket_and_always_as_many_pictures(tmp_path: Path) -> None:
    several(tmp_path / "set" / "square", 5)
    several(tmp_path / "set" / "wide", 2, (96, 48))
    toy, one_by_one = Toy(), Toy()
    dataset = _dataset(tmp_path / "set", vae_batch_size=3)
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, toy, "v")
    assert toy.batches == [3, 3, 3]
    alone = Cache(tmp_path / "alone", _silent).latents(_dataset(tmp_path / "set"), one_by_one, "v")
    assert one_by_one.batches == [1] * 7
    for one in dataset.train:
        torch.testing.assert_close(_posterior(latents, one), _posterior(alone, one))


class _Convolving(Toy):
    """Encodes with a real autoencoder of SDXL's layers, narrow."""

    def __init__(self) -> None:
        from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.vae = AutoencoderKL(
                block_out_channels=(8, 16, 16),
                down_block_types=("DownEncoderBlock2D",) * 3,
                up_block_types=("UpDecoderBlock2D",) * 3,
                latent_channels=3,
                norm_num_groups=4,
            )

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.images += len(pixels)
        posterior = self.vae.get_submodule("encoder")(pixels)
        mean, spread = self.vae.get_submodule("quant_conv")(posterior).chunk(2, dim=1)
        return mean, spread.exp()


@pytest.mark.parametrize("together", [1, 4])
def test_an_entry_does_not_depend_on_what_it_was_made_with(tmp_path: Path, together: int) -> None:
    several(tmp_path / "many", 7)
    picture(tmp_path / "one" / "x.png", seed=2)
    for number, seed in enumerate((5, 2, 0)):
        picture(tmp_path / "others" / f"{number}.png", seed=seed)
    contents = []
    for name in ("many", "one", "others"):
        cache = tmp_path / f"cache-{name}"
        _latents(cache, _dataset(tmp_path / name, vae_batch_size=together), _Convolving())
        contents.append({path.name: path.read_bytes() for path in cache.rglob("*.safetensors")})
    for fewer in contents[1:]:
        assert fewer.items() <= contents[0].items()


def test_equal_captions_are_encoded_once_for_all_runs(tmp_path: Path) -> None:
    for number, caption in enumerate(("cat", "dog", "cat")):
        picture(tmp_path / "set" / f"{number}.png", caption=caption, seed=number)
    dataset = _dataset(tmp_path / "set", caption_prefix="a")
    captions = captions_of(dataset)
    assert captions == ["a cat", "a dog"]
    toy = Toy()
    for _ in range(2):
        texts = Cache(tmp_path / "cache", _silent).texts(dataset, toy, "e", "cpu")
    assert toy.captions == captions + ["a dog"] * 6  # one batch, filled up
    text = texts.encode(["a dog", "a cat", "a dog"])
    expected = Toy()
    expected.text_encoders = toy.text_encoders
    assert torch.equal(text.hidden, expected.encode_text(["a dog", "a cat", "a dog"]).hidden)
    assert text.pooled.shape == (3, 1)
    assert not text.hidden.requires_grad
    Cache(tmp_path / "cache", _silent).texts(dataset, toy, "other encoders", "cpu")
    assert len(toy.captions) == 2 * 8


def test_what_other_code_encoded_is_encoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, line in (("family_a", "twice = 2"), ("family_b", "twice = 2  # said"), ("family_c", "twice = 3")):
        (tmp_path / f"{name}.py").write_text(f"from tests.data.toy import Toy\n\nclass Mine(Toy):\n    {line}\n")
    dataset = _dataset(several(tmp_path / "set", 2))
    encoded = []
    for name in ("family_a", "family_b", "family_c"):
        toy: Toy = importlib.import_module(name).Mine()
        cache = Cache(tmp_path / "cache", _silent)
        cache.latents(dataset, toy, "v")
        cache.texts(dataset, toy, "e", "cpu")
        encoded.append((toy.images > 0, len(toy.captions) > 0))
    assert encoded == [(True, True), (False, False), (True, True)]


def test_weighted_captions_and_another_limit_are_encoded_anew(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", caption="(cat:1.2)")
    toy, cache = Toy(), Cache(tmp_path / "cache", _silent)
    plain = cache.texts(_dataset(tmp_path / "set"), toy, "e", "cpu").encode(["(cat:1.2)"])
    weighted = cache.texts(_dataset(tmp_path / "set", weighted_captions=True), toy, "e", "cpu").encode(["(cat:1.2)"])
    torch.testing.assert_close(weighted.hidden, plain.hidden * 2)
    toy.token_limit = 9
    before = len(toy.captions)
    cache.texts(_dataset(tmp_path / "set"), toy, "e", "cpu")
    assert len(toy.captions) > before


def test_more_captions_than_a_batch_are_each_their_own(tmp_path: Path) -> None:
    dataset = _dataset(several(tmp_path / "set", 19))
    toy = Toy()
    texts = Cache(tmp_path / "cache", _silent).texts(dataset, toy, "e", "cpu")
    captions = captions_of(dataset)
    assert torch.equal(texts.encode(captions).hidden, toy.encode_text(captions).hidden)


def test_masks_are_kept_at_the_latents_size_and_mirror_with_the_image(tmp_path: Path) -> None:
    levels = np.zeros((64, 64, 4), np.uint8)
    levels[:, :32, 3] = 255
    (tmp_path / "set").mkdir()
    Image.fromarray(levels).save(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "a.txt").write_text("x")
    dataset = _dataset(tmp_path / "set", alpha_mask=True, flip=True)
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v")
    one = dataset.train[0]
    plain, mirrored = (latents.fetch(one, centre_view(one, flip)).mask for flip in (False, True))
    assert plain is not None
    assert mirrored is not None
    assert plain.shape == (1, 16, 16)
    assert bool((plain[..., :8] == 1).all())
    assert bool((plain[..., 8:] == 0).all())
    assert torch.equal(mirrored, plain.flip(-1))


def test_an_edited_mask_is_noticed_and_its_image_is_not_encoded_again(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png")
    toy = Toy()

    def mask(level: int) -> float:
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.new("L", (64, 64), level).save(tmp_path / "masks" / "a.png")
        dataset = _dataset(tmp_path / "set", mask_dir=str(tmp_path / "masks"))
        latents = Cache(tmp_path / "cache", _silent).latents(dataset, toy, "v")
        found = latents.fetch(dataset.train[0], centre_view(dataset.train[0])).mask
        assert found is not None
        return float(found.mean())

    assert mask(255) == 1.0
    assert mask(51) == pytest.approx(0.2)
    assert toy.images == 1


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


class _Logging(Toy):
    """Writes a line for every image it encodes, slowly."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self._log = log

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with self._log.open("a") as stream:
            stream.write("image\n" * len(pixels))
        time.sleep(0.02)  # long enough that another process arrives meanwhile
        return super().encode_images(pixels)


def test_trainings_that_start_at_once_encode_each_image_once(tmp_path: Path) -> None:
    dataset, log = _dataset(several(tmp_path / "set", 8)), tmp_path / "log"
    work = [in_a_process(lambda: _latents(tmp_path / "cache", dataset, _Logging(log))) for _ in range(3)]
    assert [os.waitpid(pid, 0)[1] for pid in work] == [0, 0, 0]
    assert log.read_text().count("image") == 8
    assert len(_entries(tmp_path / "cache", "latents")) == 8


class _Stuck(_Logging):
    """Gets no further than 20 images."""

    def encode_images(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoded = super().encode_images(pixels)
        if self._log.read_text().count("image") >= 20:
            time.sleep(600)
        return encoded


def test_after_a_kill_only_what_is_missing_is_encoded(tmp_path: Path) -> None:
    dataset, log = _dataset(several(tmp_path / "set", 40)), tmp_path / "log"
    pid = in_a_process(lambda: _latents(tmp_path / "cache", dataset, _Stuck(log)))
    until(lambda: len(_entries(tmp_path / "cache", "latents")) >= 5)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    made = _entries(tmp_path / "cache", "latents")
    assert 5 <= len(made) < 40
    assert _latents(tmp_path / "cache", dataset, _Logging(log)) == 40 - len(made)
    assert made.items() <= _entries(tmp_path / "cache", "latents").items()
