"""The data set: what is read, what is held out, what is refused and with which words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeplora.data.dataset import Dataset, content_hash, keeps_text, manifest
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several


def _read(folder: Path, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


def _names(dataset: Dataset) -> tuple[list[str], list[str]]:
    return [one.name for one in dataset.train], [one.name for one in dataset.validation]


def test_images_are_read_in_the_order_of_their_names_with_their_captions(tmp_path: Path) -> None:
    picture(tmp_path / "b.jpg", (100, 60), "the b")
    picture(tmp_path / "a.PNG", (64, 64), "the a\n")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / "notes.md").write_text("nothing")
    found = _read(tmp_path).train
    assert [(one.name, one.caption) for one in found] == [("a.PNG", "the a"), ("b.jpg", "the b")]
    assert [(one.width, one.height, one.bucket) for one in found] == [(64, 64, (64, 64)), (100, 60, (80, 48))]
    assert found[0].sha256 == hashlib.sha256((tmp_path / "a.PNG").read_bytes()).hexdigest()


def test_sub_folders_with_a_number_repeat_and_others_do_not(tmp_path: Path) -> None:
    picture(tmp_path / "plain.png", seed=1)
    picture(tmp_path / "3_cats" / "cat.png", seed=2)
    picture(tmp_path / "3_cats" / "2_more" / "kitten.png", seed=3)
    picture(tmp_path / "dogs" / "dog.png", seed=4)
    repeats = {one.name: one.repeats for one in _read(tmp_path).train}
    assert repeats == {"3_cats/2_more/kitten.png": 3, "3_cats/cat.png": 3, "dogs/dog.png": 1, "plain.png": 1}


def test_held_out_images_never_repeat(tmp_path: Path) -> None:
    several(tmp_path / "train", 2)
    picture(tmp_path / "val" / "5_cats" / "cat.png", seed=9)
    dataset = _read(tmp_path / "train", val_dir=str(tmp_path / "val"))
    assert [one.repeats for one in dataset.validation] == [1]


def test_an_upright_photo_goes_to_the_upright_bucket(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.new("RGB", (80, 48)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.txt").write_text("x")
    assert _read(tmp_path).train[0].bucket == (48, 80)


def test_a_folder_linked_into_itself_is_read_once(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert _names(_read(tmp_path))[0] == ["a.png"]


def test_the_split_takes_its_share_and_follows_from_the_seed(tmp_path: Path) -> None:
    several(tmp_path, 20)
    train, held_out = _names(_read(tmp_path, val_split=0.25))
    assert len(held_out) == 5
    assert sorted(train + held_out) == [f"{number:03}.png" for number in range(20)]
    assert (train, held_out) == _names(_read(tmp_path, val_split=0.25))
    assert held_out != _names(_read(tmp_path, val_split=0.25, validation_seed=1))[1]


def test_equal_images_stay_in_one_part(tmp_path: Path) -> None:
    several(tmp_path, 6)
    for number in range(6):
        (tmp_path / f"copy-{number}.png").write_bytes((tmp_path / f"00{number}.png").read_bytes())
        (tmp_path / f"copy-{number}.txt").write_text("copy")
    dataset = _read(tmp_path, val_split=0.5)
    assert len(dataset.validation) == 6
    assert not {one.sha256 for one in dataset.train} & {one.sha256 for one in dataset.validation}


@pytest.mark.parametrize(("share", "why"), [(0.01, "no image is held out"), (0.99, "no image is left")])
def test_a_split_that_leaves_a_part_empty_is_refused(tmp_path: Path, share: float, why: str) -> None:
    several(tmp_path, 4)
    with pytest.raises(UserError, match=rf"data.val_split={share}: of 4 images {why}"):
        _read(tmp_path, val_split=share)


def test_an_image_in_both_folders_is_refused_by_content(tmp_path: Path) -> None:
    several(tmp_path / "train", 3)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "other.png").write_bytes((tmp_path / "train" / "001.png").read_bytes())
    (tmp_path / "val" / "other.txt").write_text("x")
    with pytest.raises(UserError, match=r"data.val_dir=.*1 of its images .* \(first: other.png is 001.png\)"):
        _read(tmp_path / "train", val_dir=str(tmp_path / "val"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data.dir=.*/nowhere: the folder does not exist"):
        _read(tmp_path / "nowhere")
    several(tmp_path / "train", 1)
    with pytest.raises(UserError, match=r"data.val_dir=.*/nowhere: the folder does not exist"):
        _read(tmp_path / "train", val_dir=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is a file"):
        _read(tmp_path / "train" / "000.png")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"data.dir=.*: there is no image"):
        _read(tmp_path)


def test_images_without_captions_are_counted_and_the_first_named(tmp_path: Path) -> None:
    several(tmp_path, 3)
    picture(tmp_path / "x.png", caption=None)
    picture(tmp_path / "y.png", caption=None)
    with pytest.raises(UserError, match=r"2 of 5 images without a caption \(first: x.png\); write x.txt"):
        _read(tmp_path)


def test_an_empty_caption_is_refused_unless_something_is_put_before_it(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", caption=" \n")
    with pytest.raises(UserError, match=r"1 of 1 images with an empty caption file \(first: a.png\)"):
        _read(tmp_path)
    assert _read(tmp_path, caption_prefix="trigger").train[0].caption == ""


def test_a_caption_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png").with_suffix(".txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(UserError, match=r"a.txt: the caption is not UTF-8"):
        _read(tmp_path)


def test_a_byte_order_mark_is_no_part_of_a_caption(tmp_path: Path) -> None:
    picture(tmp_path / "a.png").with_suffix(".txt").write_bytes(b"\xef\xbb\xbfcat")
    assert _read(tmp_path).train[0].caption == "cat"


def test_a_truncated_image_is_named_and_counted(tmp_path: Path) -> None:
    several(tmp_path, 4)
    for name in ("001.png", "003.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:500])
    with pytest.raises(UserError, match=r"data.dir=.*/001.png: the image is damaged.*\(2 such images in all\)"):
        _read(tmp_path)


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    several(tmp_path, 1)
    (tmp_path / "z.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "z.txt").write_text("x")
    with pytest.raises(UserError, match=r"z.png: the image cannot be read"):
        _read(tmp_path)


def test_a_sub_folder_that_repeats_zero_times_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "0_cats" / "a.png")
    with pytest.raises(UserError, match=r"data.dir=0_cats"):
        _read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 70, "bucket": False}, r"data.resolution=70: must be a multiple of 16, .*; take 64 or 80"),
        ({"resolution": 8, "bucket": False}, r"data.resolution=8: must be a multiple of 16, .*; take 16"),
        ({"resolution": 8}, r"data.bucket_step=16: must be at most the resolution, 8"),
        ({"bucket_step": 24}, r"data.bucket_step=24: must be a multiple of 16"),
        ({"bucket_step": 80}, r"data.bucket_step=80: must be at most the resolution, 64"),
        ({"bucket_min": 40}, r"data.bucket_min=40: must be a multiple of 16, the step of the buckets"),
        ({"bucket_min": 80}, r"data.bucket_min=80: must be at most the resolution, 64"),
        ({"bucket_max": 48}, r"data.bucket_max=48: must be at least the resolution, 64"),
    ],
)
def test_sizes_that_do_not_fit_the_model_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    several(tmp_path, 1)
    with pytest.raises(UserError, match=message):
        _read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"val_dir": "x", "val_split": 0.1}, "data.val_split"),
        ({"bucket": False, "bucket_min": 32}, "data.bucket_min"),
        ({"bucket": False, "bucket_step": 32}, "data.bucket_step"),
        ({"keep_tokens": 1}, "data.keep_tokens"),
        ({"caption_separator": ";"}, "data.caption_separator"),
        ({"caption_extension": "txt"}, "data.caption_extension"),
        ({"cache_text": True, "caption_dropout": 0.1}, r"data.cache_text=True: data.caption_dropout=0.1"),
        ({"cache_text": True, "shuffle_caption": True}, r"data.cache_text=True: data.shuffle_caption=true"),
        ({"cache_text": True, "tag_dropout": 0.2}, r"data.cache_text=True: data.tag_dropout=0.2"),
    ],
)
def test_keys_that_bar_each_other_are_refused(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        settings(Path("x"), **changes)


def test_a_larger_resolution_moves_the_buckets_along(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (64, 64))
    picture(tmp_path / "b.png", (50, 100))
    dataset = _read(tmp_path, resolution=128)
    assert [one.bucket for one in dataset.train] == [(128, 128), (80, 176)]
    assert [one.bucket for one in _read(tmp_path, bucket=False).train] == [(64, 64), (64, 64)]


def test_text_outputs_are_kept_when_they_cannot_change(tmp_path: Path) -> None:
    several(tmp_path, 1)
    fixed, random = _read(tmp_path), _read(tmp_path, shuffle_caption=True)
    assert keeps_text(fixed, trains_text_encoders=False)
    assert not keeps_text(fixed, trains_text_encoders=True)
    assert not keeps_text(random, trains_text_encoders=False)
    assert not keeps_text(_read(tmp_path, cache_text=False), trains_text_encoders=False)
    with pytest.raises(UserError, match=r"data.cache_text=True: network.text_encoders=true"):
        keeps_text(_read(tmp_path, cache_text=True), trains_text_encoders=True)


def test_the_manifest_lists_every_file_with_its_hash(tmp_path: Path) -> None:
    several(tmp_path, 4)
    dataset = _read(tmp_path, val_split=0.25)
    entries = manifest(dataset)
    assert sorted(entry["split"] for entry in entries) == ["train"] * 3 + ["validation"]
    for entry in entries:
        data = Path(entry["path"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert entry["bucket"] == [64, 64]


def test_the_content_hash_changes_with_captions_images_and_repeats_only(tmp_path: Path) -> None:
    for place in ("one", "two"):
        several(tmp_path / place, 3)
    before = content_hash(_read(tmp_path / "one"))
    (tmp_path / "two" / "notes.md").write_text("not read")
    assert content_hash(_read(tmp_path / "two")) == before
    (tmp_path / "two" / "000.txt").write_text("another caption")
    changed = content_hash(_read(tmp_path / "two"))
    picture(tmp_path / "two" / "000.png", caption=None, seed=77)
    assert len({before, changed, content_hash(_read(tmp_path / "two"))}) == 3
    (tmp_path / "one").rename(tmp_path / "2_x")
    (tmp_path / "repeated").mkdir()
    (tmp_path / "2_x").rename(tmp_path / "repeated" / "2_x")
    assert content_hash(_read(tmp_path / "repeated")) != before


def test_reading_a_data_set_imports_no_torch(tmp_path: Path) -> None:
    several(tmp_path, 1)
    code = (
        "import sys; from sweeplora.data.batches import plan; from sweeplora.data.folder import Folder;"
        "assert not {'torch', 'numpy', 'diffusers'} & set(sys.modules), sorted(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
