"""Subsets: what each inherits, what it may set, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeplora.data.dataset import Dataset, content_hash, keeps_latents, keeps_text
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several


def _folders(root: Path) -> tuple[str, str]:
    for number, name in enumerate(("a", "b")):
        for image in range(3):
            picture(root / name / f"{image}.png", (100, 60), "one, two", seed=10 * number + image)
    return str(root / "a"), str(root / "b")


def _read(*subsets: dict[str, Any], **changes: Any) -> Dataset:
    return settings(None, subsets=list(subsets), **changes).read(divisor=16, default_resolution=64)


def test_a_subset_inherits_what_it_does_not_set(tmp_path: Path) -> None:
    first, second = _folders(tmp_path)
    own = {"dir": second, "repeats": 3, "flip": False, "caption_prefix": "mine,", "keep_tokens": 0, "resolution": 128}
    dataset = _read({"dir": first}, own, repeats=2, flip=True, shuffle_caption=True, keep_tokens=1)
    a, b = dataset.train[0], dataset.train[3]
    assert (a.repeats, a.treatment.flip, a.treatment.rules.keep_tokens, a.bucket) == (2, True, 1, (80, 48))
    assert (b.repeats, b.treatment.flip, b.treatment.rules.keep_tokens, b.bucket) == (3, False, 0, (160, 96))
    assert (a.treatment.rules.prefix, b.treatment.rules.prefix) == ("", "mine,")
    assert a.treatment.rules.shuffle
    assert b.treatment.rules.shuffle
    assert dataset.train[0].treatment is dataset.train[1].treatment


def test_subsets_follow_one_another_each_ordered_by_name(tmp_path: Path) -> None:
    first, second = _folders(tmp_path)
    paths = [one.path for one in _read({"dir": second}, {"dir": first}).train]
    assert paths == [Path(folder, f"{number}.png") for folder in (second, first) for number in range(3)]


def test_repeats_multiply_those_of_a_numbered_sub_folder(tmp_path: Path) -> None:
    picture(tmp_path / "3_cats" / "a.png")
    picture(tmp_path / "b.png", seed=1)
    dataset = settings(tmp_path, repeats=2).read(16, 64)
    assert [one.repeats for one in dataset.train] == [6, 2]


def test_regularisation_subsets_come_last_and_are_balanced(tmp_path: Path) -> None:
    first, second = _folders(tmp_path)
    dataset = _read({"dir": second, "is_reg": True, "caption_prefix": "class"}, {"dir": first, "repeats": 2})
    assert [one.treatment.is_reg for one in dataset.train] == [False] * 3 + [True] * 3
    assert [one.repeats for one in dataset.train] == [2] * 6
    assert dataset.train[-1].treatment.rules.prefix == "class"


def test_the_split_keeps_equal_images_of_several_subsets_together(tmp_path: Path) -> None:
    first, _ = _folders(tmp_path)
    dataset = _read({"dir": first}, {"dir": first, "resolution": 128}, val_split=0.4)
    held_out = {one.sha256 for one in dataset.validation}
    assert len(held_out) == 1
    assert len(dataset.validation) == 2
    assert not held_out & {one.sha256 for one in dataset.train}


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        ({"dir": "x", "shufle_caption": True}, r"data.subsets\[0\].shufle_caption=True: .*nearest: shuffle_caption"),
        ({"dir": "x", "val_split": 0.1}, r"data.subsets\[0\].val_split=0.1: a subset has no val_split"),
        ({"dir": "x", "tag_dropout": 1.5}, r"data.subsets\[0\].tag_dropout=1.5: expected a number >= 0, <= 1"),
        ({"dir": "x", "repeats": 0}, r"data.subsets\[0\].repeats=0: expected a whole number >= 1"),
        ({"dir": "x", "repeats": True}, r"data.subsets\[0\].repeats=true: expected a whole number"),
        ({"dir": "x", "resolution": [64]}, r"data.subsets\[0\].resolution=\[64\]: expected .* a list of 2"),
        ({"dir": "x", "is_reg": "yes"}, r"data.subsets\[0\].is_reg=yes: expected true or false"),
        ({"repeats": 2}, r"data.subsets\[0\].dir=None: a subset needs its folder"),
        ({"dir": "x", "keep_tokens": 2}, r"data.subsets\[0\].keep_tokens=2: has no effect"),
        ({"dir": "x", "caption_extension": "txt"}, r"data.subsets\[0\].caption_extension=txt: begin it with a dot"),
        ({"dir": "x", "is_reg": True}, r"data.subsets=1: there is no subset to train on"),
    ],
)
def test_what_a_subset_cannot_say_is_refused(subset: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(None, subsets=[subset])


def test_a_folder_or_subsets_are_given_and_not_both() -> None:
    with pytest.raises(UserError, match=r"data.dir=null: give data.dir="):
        settings(None)
    with pytest.raises(UserError, match=r"data.dir=x: data.subsets is given too"):
        settings(Path("x"), subsets=[{"dir": "y"}])
    with pytest.raises(UserError, match=r"data.subsets=0: there is no subset to train on"):
        settings(None, subsets=[])


def test_a_key_of_all_is_refused_only_where_it_has_no_effect_in_any_subset() -> None:
    settings(None, subsets=[{"dir": "x", "shuffle_caption": True}, {"dir": "y"}], keep_tokens=1)
    with pytest.raises(UserError, match=r"data.keep_tokens=1: has no effect"):
        settings(None, subsets=[{"dir": "x"}, {"dir": "y"}], keep_tokens=1)


def test_where_nothing_splits_kept_tokens_are_no_part_of_the_rules() -> None:
    plain, shuffled = {"dir": "y"}, {"dir": "x", "shuffle_caption": True}
    folder = settings(None, subsets=[plain, shuffled], keep_tokens=1, keep_tokens_separator="|||")
    rules = [source.options.rules for source in folder.sources()]
    assert [(one.keep_tokens, one.keep_tokens_separator) for one in rules] == [(0, None), (1, "|||")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token_warmup_min": 3}, "data.token_warmup_min=3: has no effect without token_warmup_steps"),
        ({"keep_tokens_separator": "|||"}, r"data.keep_tokens_separator=\|\|\|: has no effect"),
        ({"bucket": False, "bucket_no_upscale": True}, "data.bucket_no_upscale=True: has no effect with bucket=false"),
        ({"bucket_no_upscale": True, "bucket_min": 32}, "data.bucket_min=32: has no effect with bucket_no_upscale"),
        ({"bucket_no_upscale": True, "bucket_max": 64}, "data.bucket_max=64: has no effect with bucket_no_upscale"),
        ({"alpha_mask": True, "mask_dir": "m"}, "data.mask_dir=m: data.alpha_mask=true is a mask too"),
        ({"replacements": {"a": []}}, "data.replacements=a: an empty list"),
        ({"cache_latents": True, "color": True}, "data.cache_latents=True: data.color=true changes images"),
        ({"cache_latents": True, "random_crop": True}, "data.cache_latents=True: data.random_crop=true changes"),
        ({"latents": "frozen", "color": True}, "data.latents=frozen: data.color=true encodes images anew"),
        ({"latents": "frozen", "cache_latents": False}, "data.latents=frozen: data.cache_latents=false encodes"),
        ({"cache_text": True, "wildcards": True}, "data.cache_text=True: data.wildcards=true changes captions"),
        ({"cache_text": True, "token_warmup_steps": 5}, "data.cache_text=True: data.token_warmup_steps=5 changes"),
        (
            {"cache_text": True, "caption_dropout_every_epochs": 2},
            "data.cache_text=True: data.caption_dropout_every_epochs=2 changes",
        ),
        ({"cache_text": True, "replacements": {"a": ["b", "c"]}}, "data.cache_text=True: data.replacements="),
    ],
)
def test_keys_that_bar_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings(Path("x"), **changes)


def test_a_subset_that_changes_captions_or_images_bars_the_caches_of_all() -> None:
    with pytest.raises(UserError, match=r"data.cache_text=True: data.subsets\[1\].caption_dropout=0.1 changes"):
        settings(None, subsets=[{"dir": "x"}, {"dir": "y", "caption_dropout": 0.1}], cache_text=True)
    with pytest.raises(UserError, match=r"data.cache_latents=True: data.subsets\[1\].color=true changes"):
        settings(None, subsets=[{"dir": "x"}, {"dir": "y", "color": True}], cache_latents=True)


def test_separators_and_list_replacements_that_do_something_are_taken() -> None:
    settings(Path("x"), caption_separator=";", secondary_separator="|")
    settings(Path("x"), keep_tokens=1, token_warmup_steps=5, token_warmup_min=2)
    settings(Path("x"), cache_text=True, replacements={"a": ["b"]})


def test_what_is_kept_follows_from_all_subsets(tmp_path: Path) -> None:
    first, second = _folders(tmp_path)
    assert keeps_latents(_read({"dir": first}, {"dir": second}))
    assert not keeps_latents(_read({"dir": first}, {"dir": second, "color": True}))
    assert not keeps_latents(_read({"dir": first}, {"dir": second, "random_crop": True}))
    assert not keeps_latents(_read({"dir": first}, cache_latents=False))
    assert keeps_text(_read({"dir": first}, {"dir": second}), trains_text_encoders=False)
    changing = _read({"dir": first}, {"dir": second, "shuffle_caption": True})
    assert not changing.fixed_captions
    assert not keeps_text(changing, trains_text_encoders=False)


def test_the_content_hash_covers_what_a_subset_does_to_its_images(tmp_path: Path) -> None:
    first, second = _folders(tmp_path)
    one = [{"dir": first}, {"dir": second}]
    before = content_hash(_read(*one))
    changes: list[dict[str, Any]] = [
        {"flip": True},
        {"shuffle_caption": True},
        {"repeats": 2},
        {"resolution": 128},
        {"bucket": False},
        {"bucket_no_upscale": True, "resolution": 128},
        {"is_reg": True},
        {"alpha_mask": True},
        {"replacements": {"a": "b"}},
    ]
    hashes = {content_hash(_read(one[0], one[1] | change)) for change in changes}
    assert len(hashes | {before}) == len(changes) + 1
    (tmp_path / "moved").mkdir()
    Path(second).rename(tmp_path / "moved" / "c")
    assert content_hash(_read({"dir": first}, {"dir": str(tmp_path / "moved" / "c")})) == before


def test_captions_may_come_from_class_tokens_or_a_folders_name(tmp_path: Path) -> None:
    several(tmp_path, 1)
    picture(tmp_path / "5_sks dog" / "x.png", caption=None, seed=7)
    picture(tmp_path / "y.png", caption=None, seed=8)
    dataset = settings(tmp_path, class_tokens="a dog").read(16, 64)
    assert [one.caption for one in dataset.train] == ["tag 0, other", "a dog", "a dog"]
    dataset = settings(tmp_path, class_tokens="a dog", folder_captions=True).read(16, 64)
    assert [one.caption for one in dataset.train] == ["tag 0, other", "sks dog", "a dog"]
    with pytest.raises(UserError, match=r"1 of 3 images without a caption \(first: y.png\)"):
        settings(tmp_path, folder_captions=True).read(16, 64)


def test_an_oblong_resolution_is_exact_without_buckets(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (100, 100))
    one = settings(tmp_path, resolution=[96, 64], bucket=False).read(16, 64)
    assert (one.train[0].bucket, one.train[0].scaled, one.resolution) == ((96, 64), (96, 96), (96, 64))
    with pytest.raises(UserError, match=r"data.resolution=70: must be a multiple of 16, .*; take 64 or 80"):
        settings(tmp_path, resolution=[96, 70], bucket=False).read(16, 64)


def test_a_resolution_of_buckets_is_an_area_and_needs_no_step(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (100, 100))
    dataset = settings(tmp_path, resolution=70).read(16, 64)
    assert (dataset.train[0].bucket, dataset.resolution) == ((64, 64), (70, 70))


def test_without_growth_an_image_keeps_its_size_and_a_tiny_one_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (50, 40))
    one = settings(tmp_path, bucket_no_upscale=True).read(16, 64).train[0]
    assert (one.bucket, one.scaled) == ((48, 32), (50, 40))
    picture(tmp_path / "b.png", (50, 15))
    with pytest.raises(UserError, match=r"data.bucket_no_upscale=True: b.png is 50 x 15, shorter than a step of 16"):
        settings(tmp_path, bucket_no_upscale=True).read(16, 64)
