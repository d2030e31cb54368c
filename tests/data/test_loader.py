"""The loader: everything random follows from (seed, epoch, item), and nothing else changes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sweeplora.data.batches import Batch, Item, plan, share
from sweeplora.data.cache import Cache, captions_of
from sweeplora.data.index import Dataset
from sweeplora.data.loader import Loader, stills
from sweeplora.randomness import seed_of
from tests.data.folders import picture, settings, several
from tests.data.toy import Toy


def _silent(_what: str, _done: int, _missing: int) -> None:
    pass


def _set(tmp_path: Path, **changes: Any) -> Dataset:
    if not (tmp_path / "set").exists():
        several(tmp_path / "set", 6)
        picture(tmp_path / "set" / "2_more" / "wide.png", (100, 60), "x, y, z", seed=30)
    return settings(tmp_path / "set", **changes).read(divisor=16, default_resolution=64)


def _loader(tmp_path: Path, dataset: Dataset, seed: int = 0) -> Loader:
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v")
    return Loader(dataset, latents, Toy().encode_text, seed)


def _batch(dataset: Dataset, *items: Item) -> Batch:
    first = dataset.train[items[0].index]
    return Batch(first.bucket, items, tuple(dataset.train[item.index].name for item in items))


def test_latents_are_the_posteriors_mean_plus_its_own_noise(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v")
    loaded = Loader(dataset, latents, Toy().encode_text, seed=7).load(_batch(dataset, Item(3, 0)), epoch=2)
    mean, std = latents.posterior(dataset.train[3], flip=False)
    generator = torch.Generator().manual_seed(seed_of(7, "posterior", 2, 3, 0))
    assert torch.equal(loaded.latents[0], mean + std * torch.randn(mean.shape, generator=generator))


def test_shares_of_any_number_of_processes_make_the_same_batch(tmp_path: Path) -> None:
    dataset = _set(tmp_path, flip=True, shuffle_caption=True)
    loader = _loader(tmp_path, dataset)
    for batch in plan(dataset, 4, seed=0, epoch=1):
        whole = loader.load(batch, 1)
        for world in (2, 3):
            shares = [share(batch, rank, world) for rank in range(world)]
            parts = [loader.load(part, 1) for part in shares if part.items]
            assert torch.equal(torch.cat([part.latents for part in parts]), whole.latents)
            assert torch.equal(torch.cat([part.sizes for part in parts]), whole.sizes)
            assert [caption for part in parts for caption in part.captions] == list(whole.captions)


def test_epochs_repeats_and_seeds_draw_anew_and_again_the_same(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    index = next(number for number, one in enumerate(dataset.train) if one.repeats == 2)
    draws = [
        _loader(tmp_path, dataset, seed).load(_batch(dataset, Item(index, repeat)), epoch).latents
        for seed in (0, 1)
        for epoch in (1, 2)
        for repeat in (0, 1)
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    again = _loader(tmp_path, dataset, 0).load(_batch(dataset, Item(index, 0)), 1).latents
    assert torch.equal(again, draws[0])


def test_about_half_of_all_appearances_are_mirrored_with_their_crop(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", (67, 64))
    dataset = _set(tmp_path, flip=True, bucket=False)
    loader = _loader(tmp_path, dataset)
    loaded = [loader.load(_batch(dataset, Item(0, 0)), epoch) for epoch in range(200)]
    lefts = [int(one.sizes[0, 3]) for one in loaded]
    assert set(lefts) == {1, 2}
    assert 60 < lefts.count(2) < 140  # six standard deviations
    mean = {left: torch.cat([one.latents for one, at in zip(loaded, lefts, strict=True) if at == left]).mean(0)
            for left in (1, 2)}  # fmt: skip
    assert (mean[1] - mean[2].flip(-1)).abs().mean() < (mean[1] - mean[2]).abs().mean()


def test_sizes_are_original_crop_and_target_height_first(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    index = next(number for number, one in enumerate(dataset.train) if one.width == 100)
    loaded = _loader(tmp_path, dataset).load(_batch(dataset, Item(index, 1)), 1)
    assert loaded.sizes.tolist() == [[60.0, 100.0, 0.0, 0.0, 48.0, 80.0]]
    assert loaded.sizes.dtype == torch.float32
    assert loaded.latents.shape == (1, 3, 12, 20)


def test_random_captions_are_drawn_per_item_and_epoch(tmp_path: Path) -> None:
    dataset = _set(tmp_path, shuffle_caption=True, caption_dropout=0.2)
    loader = _loader(tmp_path, dataset)
    captions = [loader.load(_batch(dataset, Item(5, 0)), epoch).captions[0] for epoch in range(40)]
    assert set(captions) == {"", "tag 5, other", "other, tag 5"}
    assert captions == [loader.load(_batch(dataset, Item(5, 0)), epoch).captions[0] for epoch in range(40)]


def test_text_is_encoded_when_it_is_asked_for_with_gradients_to_the_encoder(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v")
    toy = Toy()
    loaded = Loader(dataset, latents, toy.encode_text, seed=0).load(_batch(dataset, Item(1, 0), Item(2, 0)), 1)
    assert toy.captions == []
    total = loaded.text().hidden.sum()
    assert toy.captions == ["tag 1, other", "tag 2, other"]
    (gradient,) = torch.autograd.grad(total, toy.text_encoders[0].get_parameter("weight"))
    assert gradient.item() > 0


def test_kept_text_is_what_the_family_gives(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    toy, cache = Toy(), Cache(tmp_path / "cache", _silent)
    texts = cache.texts(captions_of(dataset), toy, "e", "cpu")
    batch = _batch(dataset, Item(4, 0), Item(1, 0))
    loaded = Loader(dataset, cache.latents(dataset, toy, "v"), texts.encode, seed=0).load(batch, 1)
    assert torch.equal(loaded.text().hidden, toy.encode_text(list(loaded.captions)).hidden)


def test_an_empty_share_is_not_loaded(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    with pytest.raises(AssertionError):
        _loader(tmp_path, dataset).load(share(_batch(dataset, Item(0, 0)), 1, 2), 1)


def test_stills_have_nothing_random_about_them(tmp_path: Path) -> None:
    dataset = _set(tmp_path, flip=True, shuffle_caption=True, tag_dropout=0.5, val_split=0.3)
    latents = Cache(tmp_path / "cache", _silent).latents(dataset, Toy(), "v")
    still = stills(dataset.validation, latents, dataset.rules)
    for one, example in zip(dataset.validation, still, strict=True):
        assert example.identity == one.sha256
        assert torch.equal(example.latents, latents.posterior(one, flip=False)[0])
        assert example.caption == one.caption
    other = replace(dataset.rules, shuffle=False, tag_dropout=0.0)
    assert [example.caption for example in stills(dataset.validation, latents, other)] == [
        example.caption for example in still
    ]
