"""The loader: everything random follows from (seed, epoch, item), and nothing else changes it."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sweeplora.data.batches import Batch, Item, plan, share
from sweeplora.data.cache import Cache
from sweeplora.data.captions import Moment
from sweeplora.data.dataset import Dataset, Picture, keeps_latents
from sweeplora.data.latents import Fetched, Latents
from sweeplora.data.loader import Loaded, Loader, Request, stills
from sweeplora.data.pixels import View, centre_view
from sweeplora.errors import UserError
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


def _source(tmp_path: Path, dataset: Dataset) -> Latents:
    cache = Cache(tmp_path / "cache", _silent)
    return (cache.latents if keeps_latents(dataset) else cache.online)(dataset, Toy(), "v")


def _loader(tmp_path: Path, dataset: Dataset, seed: int = 0) -> Loader:
    return Loader(dataset, _source(tmp_path, dataset), Toy().encode_text, seed)


def _at(epoch: int, step: int = 0) -> Moment:
    return Moment(epoch, step, num_steps=100)


def _batch(dataset: Dataset, *items: Item) -> Batch:
    first = dataset.train[items[0].index]
    return Batch(first.bucket, items, tuple(dataset.train[item.index].name for item in items))


def _requests(dataset: Dataset, batch_size: int = 4, epochs: int = 2) -> list[Request]:
    return [
        Request(batch, _at(epoch, step))
        for epoch in range(1, epochs + 1)
        for step, batch in enumerate(plan(dataset, batch_size, 0, epoch))
    ]


def _assert_equal(one: Loaded, other: Loaded) -> None:
    assert one.items == other.items
    assert one.captions == other.captions
    assert torch.equal(one.latents(), other.latents())
    assert torch.equal(one.sizes, other.sizes)
    assert torch.equal(one.weights, other.weights)
    if one.mask is None or other.mask is None:
        assert one.mask is other.mask
    else:
        assert torch.equal(one.mask, other.mask)


def test_latents_are_the_posteriors_mean_plus_its_own_noise(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    latents = _source(tmp_path, dataset)
    loaded = Loader(dataset, latents, Toy().encode_text, seed=7).load(_batch(dataset, Item(3, 0)), _at(2))
    mean, std = latents.fetch(dataset.train[3], centre_view(dataset.train[3])).content
    generator = torch.Generator().manual_seed(seed_of(7, "posterior", 2, 3, 0))
    assert torch.equal(loaded.latents()[0], mean + std * torch.randn(mean.shape, generator=generator))


EVERYTHING = {"shuffle_caption": True, "caption_dropout": 0.1, "tag_dropout": 0.2, "flip": True}
WAYS: dict[str, dict[str, Any]] = {
    "kept": EVERYTHING,
    "frozen": EVERYTHING | {"latents": "frozen"},
    "online": EVERYTHING | {"cache_latents": False},
    "cropped": EVERYTHING | {"random_crop": True, "color": True, "alpha_mask": True, "bucket": False},
    "together": EVERYTHING | {"random_crop": True, "bucket": False, "vae_batch_size": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_any_number_of_workers_gives_the_same_bits(tmp_path: Path, way: str) -> None:
    dataset = _set(tmp_path, workers=0, **WAYS[way])
    requests = _requests(dataset)
    alone = list(_loader(tmp_path, dataset).stream(requests))
    assert len(alone) == len(requests)
    for workers in (1, 4):
        loader = _loader(tmp_path, replace(dataset, workers=workers))
        for one, other in zip(loader.stream(requests), alone, strict=True):
            _assert_equal(one, other)


@pytest.mark.parametrize("way", WAYS)
def test_shares_of_any_number_of_processes_make_the_same_batch(tmp_path: Path, way: str) -> None:
    dataset = _set(tmp_path, **WAYS[way])
    loader = _loader(tmp_path, dataset)
    for batch in plan(dataset, 4, seed=0, epoch=1):
        whole = loader.load(batch, _at(1))
        for world in (2, 3):
            shares = [share(batch, rank, world) for rank in range(world)]
            parts = [loader.load(part, _at(1)) for part in shares if part.items]
            assert torch.equal(torch.cat([part.latents() for part in parts]), whole.latents())
            assert torch.equal(torch.cat([part.sizes for part in parts]), whole.sizes)
            assert [caption for part in parts for caption in part.captions] == list(whole.captions)


def test_encoding_online_gives_what_the_cache_keeps(tmp_path: Path) -> None:
    kept, online = (_set(tmp_path, flip=True, cache_latents=cached) for cached in (True, False))
    requests = _requests(kept)
    pairs = zip(_loader(tmp_path, kept).stream(requests), _loader(tmp_path, online).stream(requests), strict=True)
    for one, other in pairs:
        _assert_equal(one, other)


def test_epochs_repeats_and_seeds_draw_anew_and_again_the_same(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    index = next(number for number, one in enumerate(dataset.train) if one.repeats == 2)
    draws = [
        _loader(tmp_path, dataset, seed).load(_batch(dataset, Item(index, repeat)), _at(epoch)).latents()
        for seed in (0, 1)
        for epoch in (1, 2)
        for repeat in (0, 1)
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    again = _loader(tmp_path, dataset, 0).load(_batch(dataset, Item(index, 0)), _at(1)).latents()
    assert torch.equal(again, draws[0])


def test_frozen_latents_are_one_draw_for_all_epochs_repeats_and_seeds(tmp_path: Path) -> None:
    dataset = _set(tmp_path, latents="frozen", flip=True)
    index = next(number for number, one in enumerate(dataset.train) if one.repeats == 2)
    draws: dict[bool, set[bytes]] = {False: set(), True: set()}
    for seed in range(3):
        for epoch in range(12):
            loaded = _loader(tmp_path, dataset, seed).load(_batch(dataset, Item(index, epoch % 2)), _at(epoch))
            mirrored = seed_of(seed, "flip", epoch, index, epoch % 2) % 2 == 1
            draws[mirrored].add(loaded.latents().numpy().tobytes())
    assert len(draws[False]) == len(draws[True]) == 1  # a mirrored image has a draw of its own
    assert draws[False] != draws[True]
    other = _loader(tmp_path, dataset).load(_batch(dataset, Item(0, 0)), _at(1)).latents()
    mean = stills([dataset.train[0]], _source(tmp_path, dataset))[0].latents
    assert (other[0] - mean).std() == pytest.approx(0.5, rel=0.1)  # drawn from the posterior, not its mean


def test_about_half_of_all_appearances_are_mirrored_with_their_crop(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", (67, 64))
    dataset = _set(tmp_path, flip=True, bucket=False)
    loader = _loader(tmp_path, dataset)
    loaded = [loader.load(_batch(dataset, Item(0, 0)), _at(epoch)) for epoch in range(200)]
    lefts = [int(one.sizes[0, 3]) for one in loaded]
    assert set(lefts) == {1, 2}
    assert 60 < lefts.count(2) < 140  # six standard deviations
    drawn = [(at, one.latents()) for one, at in zip(loaded, lefts, strict=True)]
    mean = {left: torch.cat([latents for at, latents in drawn if at == left]).mean(0) for left in (1, 2)}
    assert (mean[1] - mean[2].flip(-1)).abs().mean() < (mean[1] - mean[2]).abs().mean()


def test_random_crops_reach_every_place_and_the_size_ids_say_where(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", (64, 67))
    dataset = _set(tmp_path, random_crop=True, bucket=False)
    loader = _loader(tmp_path, dataset)
    levels = np.asarray(Image.open(tmp_path / "set" / "a.png"), np.float64) / 127.5 - 1
    tops = set()
    for epoch in range(60):
        loaded = loader.load(_batch(dataset, Item(0, 0)), _at(epoch))
        top, left = (int(value) for value in loaded.sizes[0, 2:4])
        noise = torch.randn((3, 16, 16), generator=torch.Generator().manual_seed(seed_of(0, "posterior", epoch, 0, 0)))
        mean = (loaded.latents()[0] - 0.5 * noise).numpy()
        cut = levels[top : top + 64].transpose(2, 0, 1).reshape(3, 16, 4, 16, 4).mean((2, 4))
        np.testing.assert_allclose(mean, cut, atol=1e-5)
        assert left == 0
        tops.add(top)
    assert tops == {0, 1, 2, 3}  # one of four is missed by 60 draws with a chance of 1e-7


def test_sizes_are_original_crop_and_target_height_first(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    index = next(number for number, one in enumerate(dataset.train) if one.width == 100)
    loaded = _loader(tmp_path, dataset).load(_batch(dataset, Item(index, 1)), _at(1))
    assert loaded.sizes.tolist() == [[60.0, 100.0, 0.0, 0.0, 48.0, 80.0]]
    assert loaded.sizes.dtype == torch.float32
    assert loaded.latents().shape == (1, 3, 12, 20)


def test_random_captions_are_drawn_per_item_and_epoch(tmp_path: Path) -> None:
    dataset = _set(tmp_path, shuffle_caption=True, caption_dropout=0.2)
    loader = _loader(tmp_path, dataset)
    captions = [loader.load(_batch(dataset, Item(5, 0)), _at(epoch)).captions[0] for epoch in range(40)]
    assert set(captions) == {"", "tag 5, other", "other, tag 5"}
    assert captions == [loader.load(_batch(dataset, Item(5, 0)), _at(epoch)).captions[0] for epoch in range(40)]


def test_captions_follow_the_moment_of_their_request(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", caption="a, b, c, d")
    dataset = _set(tmp_path, token_warmup_steps=10, token_warmup_min=1, workers=2)
    batch = _batch(dataset, Item(0, 0))
    requests = [Request(batch, _at(1, step)) for step in (0, 5, 10)]
    captions = [loaded.captions[0] for loaded in _loader(tmp_path, dataset).stream(requests)]
    assert captions == ["a", "a, b", "a, b, c, d"]


def test_regularisation_images_carry_their_weight(tmp_path: Path) -> None:
    several(tmp_path / "reg", 2, (64, 96))
    dataset = _set(tmp_path, reg_dir=str(tmp_path / "reg"), prior_loss_weight=0.25)
    loader = _loader(tmp_path, dataset)
    for batch in plan(dataset, 3, seed=0, epoch=1):
        expected = [0.25 if dataset.train[item.index].treatment.is_reg else 1.0 for item in batch.items]
        assert loader.load(batch, _at(1)).weights.tolist() == expected
    assert any(one.treatment.is_reg for one in dataset.train)


def test_images_without_a_mask_count_fully_beside_masked_ones(tmp_path: Path) -> None:
    levels = np.full((64, 64, 4), 255, np.uint8)
    levels[:16, :, 3] = 51
    (tmp_path / "seen").mkdir()
    Image.fromarray(levels).save(tmp_path / "seen" / "a.png")
    (tmp_path / "seen" / "a.txt").write_text("x")
    several(tmp_path / "plain", 1)
    subsets = [{"dir": str(tmp_path / "seen"), "alpha_mask": True}, {"dir": str(tmp_path / "plain")}]
    dataset = settings(None, subsets=subsets).read(16, 64)
    loader = _loader(tmp_path, dataset)
    both = loader.load(_batch(dataset, Item(0, 0), Item(1, 0)), _at(1)).mask
    assert both is not None
    assert both.shape == (2, 1, 16, 16)
    torch.testing.assert_close(both[0, 0].mean(1), torch.tensor([0.2] * 4 + [1.0] * 12))
    assert bool((both[1] == 1).all())
    assert loader.load(_batch(dataset, Item(1, 0)), _at(1)).mask is None


def test_text_is_encoded_when_it_is_asked_for_with_gradients_to_the_encoder(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    toy = Toy()
    loader = Loader(dataset, _source(tmp_path, dataset), toy.encode_text, seed=0)
    loaded = loader.load(_batch(dataset, Item(1, 0), Item(2, 0)), _at(1))
    assert toy.captions == []
    total = loaded.text().hidden.sum()
    assert toy.captions == ["tag 1, other", "tag 2, other"]
    (gradient,) = torch.autograd.grad(total, toy.text_encoders[0].get_parameter("weight"))
    assert gradient.item() > 0


def test_kept_text_is_what_the_family_gives(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    toy = Toy()
    texts = Cache(tmp_path / "cache", _silent).texts(dataset, toy, "e", "cpu")
    batch = _batch(dataset, Item(4, 0), Item(1, 0))
    loaded = Loader(dataset, _source(tmp_path, dataset), texts.encode, seed=0).load(batch, _at(1))
    assert torch.equal(loaded.text().hidden, toy.encode_text(list(loaded.captions)).hidden)


def test_an_empty_share_is_not_loaded(tmp_path: Path) -> None:
    dataset = _set(tmp_path)
    with pytest.raises(AssertionError):
        _loader(tmp_path, dataset).load(share(_batch(dataset, Item(0, 0)), 1, 2), _at(1))


@pytest.mark.parametrize("workers", [0, 3])
def test_a_picture_that_is_gone_is_named_where_its_batch_comes(tmp_path: Path, workers: int) -> None:
    dataset = _set(tmp_path, cache_latents=False, workers=workers)
    requests = [Request(_batch(dataset, Item(index, 0)), _at(1)) for index in range(6)]
    bad = dataset.train[4]
    bad.path.unlink()
    stream = _loader(tmp_path, dataset).stream(requests)
    names = [dataset.train[next(stream).items[0].index].name for _ in range(4)]
    assert names == [one.name for one in dataset.train[:4]]
    with pytest.raises(UserError, match=bad.name):
        next(stream)


class _Counting:
    """Counts what is fetched, and can hold every thread up."""

    def __init__(self, source: Latents) -> None:
        self._source = source
        self.fetched: list[str] = []
        self.gate = threading.Event()

    def fetch(self, one: Picture, view: View) -> Fetched:
        self.fetched.append(one.name)
        assert self.gate.wait(20)
        return self._source.fetch(one, view)

    def posteriors(self, contents: Any) -> torch.Tensor:
        return self._source.posteriors(contents)


def test_reading_ahead_is_bounded_and_ends_when_the_stream_is_closed(tmp_path: Path) -> None:
    dataset = _set(tmp_path, workers=3)
    source = _Counting(_source(tmp_path, dataset))
    requests = [Request(_batch(dataset, Item(0, 0), Item(1, 0)), _at(epoch)) for epoch in range(200)]
    threads = threading.active_count()
    source.gate.set()
    with closing(Loader(dataset, source, Toy().encode_text, 0).stream(requests)) as stream:
        for taken in range(1, 11):
            next(stream)
            assert len(source.fetched) <= 2 * taken + 3 + 2 * 2
    begun = len(source.fetched)
    assert begun <= 2 * 10 + 3 + 2 * 2
    assert threading.active_count() == threads
    assert len(source.fetched) == begun


def test_workers_read_several_pictures_at_once(tmp_path: Path) -> None:
    dataset = _set(tmp_path, workers=3)
    source = _Counting(_source(tmp_path, dataset))
    together = threading.Barrier(3, action=source.gate.set)
    fetch = source.fetch

    def fetch_together(one: Picture, view: View) -> Fetched:
        if not source.gate.is_set():
            together.wait(20)  # breaks unless three threads come here
        return fetch(one, view)

    source.fetch = fetch_together  # type: ignore[method-assign]
    requests = [Request(_batch(dataset, Item(index, 0)), _at(1)) for index in range(6)]
    assert len(list(Loader(dataset, source, Toy().encode_text, 0).stream(requests))) == 6


def test_stills_have_nothing_random_about_them(tmp_path: Path) -> None:
    dataset = _set(tmp_path, flip=True, shuffle_caption=True, tag_dropout=0.5, val_split=0.3)
    latents = _source(tmp_path, dataset)
    still = stills(dataset.validation, latents)
    for one, example in zip(dataset.validation, still, strict=True):
        assert example.identity == one.sha256
        assert torch.equal(example.latents, latents.fetch(one, centre_view(one)).content[0])
        assert example.caption == one.caption
    rules = replace(dataset.validation[0].treatment.rules, shuffle=False, tag_dropout=0.0)
    calm = [replace(one, treatment=replace(one.treatment, rules=rules)) for one in dataset.validation]
    assert [example.caption for example in stills(calm, latents)] == [example.caption for example in still]


def test_stills_are_cut_in_the_middle_where_training_cuts_anywhere(tmp_path: Path) -> None:
    cropped = _set(tmp_path, random_crop=True, color=True, bucket=False)
    kept = _set(tmp_path, bucket=False)
    pairs = zip(
        stills(cropped.train, _source(tmp_path, cropped)), stills(kept.train, _source(tmp_path, kept)), strict=True
    )
    for one, other in pairs:
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.sizes, other.sizes)
