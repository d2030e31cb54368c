"""One folder read: what is said of sizes, masks and repeats; what would be read in two roles is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeplora.data.dataset import Dataset, content_hash
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several


def _read(folder: Path | None, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


def _mask(path: Path, box: tuple[int, int, int, int] | None = None, size: tuple[int, int] = (64, 64)) -> None:
    """Black, and white in the box."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = Image.new("L", size)
    if box is not None:
        mask.paste(255, box)
    mask.save(path)


def test_a_usual_folder_gives_no_notice(tmp_path: Path) -> None:
    several(tmp_path / "5_cats", 3, (90, 70))
    assert _read(tmp_path).notices == ()


def test_a_strip_loses_most_of_itself_and_this_is_said(tmp_path: Path) -> None:
    several(tmp_path, 2)
    picture(tmp_path / "strip.png", (2000, 8), seed=9)
    assert _read(tmp_path).notices == (
        "data.dir: 1 image loses more than half of the area to the crop of the bucket: "
        "strip.png (2000 x 8 in 128 x 32)",
    )
    picture(tmp_path / "dot.png", (12, 12), seed=9)
    assert "data.dir: 1 image is enlarged more than 4 times: dot.png (12 x 12 in 64 x 64)" in _read(tmp_path).notices


def test_a_resolution_that_no_bucket_has_is_said(tmp_path: Path) -> None:
    several(tmp_path, 1)
    said = "70 x 70 pixels are no multiple of the buckets' step of 16; the largest bucket is 80 x 48"
    assert _read(tmp_path, resolution=70).notices[0].startswith("data.dir: 70 x 70 pixels are no multiple of")
    assert "the largest bucket is " in said
    assert _read(tmp_path, resolution=80).notices == ()


@pytest.mark.parametrize("key", ["resolution", "bucket_max", "bucket_min"])
def test_sizes_beyond_any_model_are_refused_at_once(key: str) -> None:
    from sweeplora.check.shape import check_shape
    from sweeplora.config.compose import compose

    with pytest.raises(UserError, match=rf"data.{key}=100000000: "):
        check_shape(compose([f"data.{key}=100000000"]).config)


def test_repeats_beyond_any_training_are_refused_at_once(tmp_path: Path) -> None:
    picture(tmp_path / "99999999999_x" / "a.png")
    with pytest.raises(UserError, match=r"data.repeats=1: an epoch has 99,999,999,999 images"):
        _read(tmp_path)


def test_a_numbered_folder_given_itself_counts_once_and_says_so(tmp_path: Path) -> None:
    folder = several(tmp_path / "10_cat", 2).parent / "10_cat"
    dataset = _read(folder)
    assert [one.repeats for one in dataset.train] == [1, 1]
    mend = "give the folder above it or data.repeats=10 to repeat them"
    assert dataset.notices == (f"data.dir: the images of 10_cat count once, because it is given itself; {mend}",)
    assert _read(folder, repeats=10).notices == ()
    subset = _read(None, subsets=[{"dir": str(folder)}])
    assert "data.subsets[0].repeats=10" in subset.notices[0]


def test_masks_that_hide_everything_are_refused_and_a_single_one_is_said(tmp_path: Path) -> None:
    several(tmp_path / "set", 2)
    _mask(tmp_path / "m" / "000.png")
    _mask(tmp_path / "m" / "001.png", (0, 0, 9, 9))
    _mask(tmp_path / "m" / "other.png")
    dataset = _read(tmp_path / "set", mask_dir=str(tmp_path / "m"))
    assert dataset.notices == (
        "data.dir: 1 mask belongs to no image: other.png",
        "data.dir: 1 image is hidden by its mask as a whole: 000.png",
    )
    _mask(tmp_path / "m" / "001.png")
    with pytest.raises(UserError, match=r"data.mask_dir=.*/m: the masks hide every image whole"):
        _read(tmp_path / "set", mask_dir=str(tmp_path / "m"))


def test_what_a_mask_shows_may_be_cut_away(tmp_path: Path) -> None:
    picture(tmp_path / "set" / "a.png", (64, 128))
    _mask(tmp_path / "m" / "a.png", (0, 0, 64, 20), (64, 128))
    changes: dict[str, Any] = {"mask_dir": str(tmp_path / "m"), "bucket": False}
    with pytest.raises(UserError, match="hide every image whole"):
        _read(tmp_path / "set", **changes)
    assert _read(tmp_path / "set", **changes, random_crop=True).notices == ()
    _mask(tmp_path / "m" / "a.png", (0, 0, 64, 40), (64, 128))
    assert _read(tmp_path / "set", **changes).notices == ()


def test_wholly_transparent_images_are_said_or_refused_as_masks(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    Image.new("RGBA", (64, 64), (9, 9, 9, 0)).save(tmp_path / "b.png")
    (tmp_path / "b.txt").write_text("x")
    said = "data.dir: 1 image is wholly transparent and trained as white: b.png"
    assert _read(tmp_path).notices == (said,)
    assert _read(tmp_path, alpha_mask=True).notices == ("data.dir: 1 image is hidden by its mask as a whole: b.png",)
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"data.alpha_mask=true: the masks hide every image whole"):
        _read(tmp_path, alpha_mask=True)


def test_more_regularisation_images_than_training_images_are_said(tmp_path: Path) -> None:
    several(tmp_path / "set", 2)
    for number in range(5):
        picture(tmp_path / "reg" / f"{number}.png", seed=50 + number)
    dataset = _read(tmp_path / "set", reg_dir=str(tmp_path / "reg"))
    said = "3 of 5 regularisation images are not used: an epoch has 2 training images, and takes as many of those"
    assert dataset.notices == (said,)


def test_copies_of_training_images_that_regularise_are_said(tmp_path: Path) -> None:
    several(tmp_path / "set", 3)
    several(tmp_path / "reg", 2)
    dataset = _read(tmp_path / "set", reg_dir=str(tmp_path / "reg"))
    assert dataset.notices == ("2 regularisation images are training images too: 000.png, 001.png",)


@pytest.mark.parametrize("inner", ["set", "set/sub", "."])
@pytest.mark.parametrize("key", ["reg_dir", "mask_dir", "val_dir"])
def test_folders_that_lie_in_each_other_are_refused(tmp_path: Path, key: str, inner: str) -> None:
    several(tmp_path / "set", 2)
    several(tmp_path / "set" / "sub", 2)
    (tmp_path / "link").symlink_to(tmp_path / inner)
    words = {"set": "is the same folder as data.dir", "set/sub": "lies in data.dir=", ".": "lies in it"}
    for folder in (tmp_path / inner, tmp_path / "link"):
        with pytest.raises(UserError, match=rf"data.{key}=.*{words[inner]}"):
            _read(tmp_path / "set", **{key: str(folder)})


def test_a_subset_that_regularises_must_not_be_trained_on_and_hidden_folders_are_not_read(tmp_path: Path) -> None:
    several(tmp_path / "set", 2)
    with pytest.raises(UserError, match=r"data.subsets\[1\].dir=.* is the same folder as data.subsets\[0\].dir"):
        _read(None, subsets=[{"dir": str(tmp_path / "set")}, {"dir": f"{tmp_path}/set/", "is_reg": True}])
    for name in ("000.png", "001.png"):
        _mask(tmp_path / "set" / ".masks" / name, (0, 0, 9, 9))
    assert _read(tmp_path / "set", mask_dir=f"{tmp_path}/set/.masks").notices == ()


def test_notices_are_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    several(tmp_path, 2)
    before = content_hash(_read(tmp_path))
    (tmp_path / "alone.txt").write_text("x")
    assert _read(tmp_path).notices
    assert content_hash(_read(tmp_path)) == before
