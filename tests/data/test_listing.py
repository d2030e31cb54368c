"""What lies in a folder: what is read, what is left out and said, and what is refused in seconds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeplora.data import listing
from sweeplora.data.dataset import Dataset
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several


def _read(folder: Path, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


def _names(dataset: Dataset) -> list[str]:
    return [one.name for one in dataset.train]


@pytest.mark.parametrize(
    "suffix",
    [".jfif", ".jpe", ".JPG", ".tga", ".ppm", ".pgm", ".pcx", ".jp2", ".qoi", ".tiff", ".bmp", ".gif", ".mpo", ".apng"],
)
def test_every_still_image_with_a_caption_is_read(tmp_path: Path, suffix: str) -> None:
    several(tmp_path, 1)
    mode = "L" if suffix == ".pgm" else "RGB"
    with (tmp_path / f"x{suffix}").open("wb") as stream:
        kind = {".jfif": "JPEG", ".apng": "PNG"}.get(suffix, Image.registered_extensions()[suffix.lower()])
        Image.new(mode, (64, 64), 7).save(stream, kind)
    (tmp_path / "x.txt").write_text("x")
    dataset = _read(tmp_path)
    assert _names(dataset) == ["000.png", f"x{suffix}"]
    assert dataset.notices == ()


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path) -> None:
    several(tmp_path, 1)
    for name in ("a.heic", "b.jxl", "c.HEIF", "d.psd", "e.mp4", "f.strange", "g.svg", "h"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("a.txt", "f.txt", "h.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "000.npz").write_text("x")
    dataset = _read(tmp_path)
    assert _names(dataset) == ["000.png"]
    said = "a.heic, b.jxl, c.HEIF, d.psd, e.mp4 and 3 more; their formats are not read: make them PNG or JPEG"
    assert dataset.notices == (f"data.dir: 8 files are left out: {said}",)


def test_a_folder_of_nothing_but_other_formats_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "b.heic").write_bytes(b"x")
    with pytest.raises(UserError, match=r"there is no image in it \(1 file is left out: b.heic"):
        _read(tmp_path)


def test_a_folder_called_like_an_image_is_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "x.png" / "a.png")
    assert _names(_read(tmp_path)) == ["x.png/a.png"]


def test_names_of_any_bytes_are_read_and_shown_in_one_line(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    for name in ("two\nlines", odd):
        path = picture(tmp_path / "a.png", (4, 64), seed=len(name))
        path.rename(tmp_path / f"{name}.png")
        (tmp_path / "a.txt").rename(tmp_path / f"{name}.txt")
    dataset = _read(tmp_path)
    assert len(dataset.train) == 2
    assert len(dataset.notices) == 2
    assert all(notice.isprintable() for notice in dataset.notices)
    assert r"caf\udce9.png (4 x 64" in dataset.notices[0]
    assert r"two\nlines.png (4 x 64" in dataset.notices[0]
    (tmp_path / f"{odd}.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"/caf\\udce9.png: the image is not an image"):
        _read(tmp_path)


def test_a_folders_name_that_is_no_text_cannot_be_a_caption(tmp_path: Path) -> None:
    picture(tmp_path / os.fsdecode(b"3_caf\xe9") / "a.png", caption=None)
    with pytest.raises(UserError, match=r"with a folder's name as a caption that is not UTF-8 \(first: 3_caf\\udce9/a"):
        _read(tmp_path, folder_captions=True)


def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    several(tmp_path, 1)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "pipe.txt").write_text("x")
    with pytest.raises(UserError, match=r"pipe.png: the image is no regular file"):
        _read(tmp_path)
    (tmp_path / "pipe.png").unlink()
    (tmp_path / "000.txt").unlink()
    os.mkfifo(tmp_path / "000.txt")
    with pytest.raises(UserError, match=r"000.txt: the caption is no regular file"):
        _read(tmp_path)


def test_an_empty_image_file_is_named(tmp_path: Path) -> None:
    several(tmp_path, 2)
    (tmp_path / "001.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"001.png: the image is an empty file"):
        _read(tmp_path)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
@pytest.mark.parametrize("folder", ["/proc", "/proc/self", "/sys"])
def test_the_kernels_folders_are_refused(folder: str) -> None:
    with pytest.raises(UserError, match=r"belongs to the system's kernel"):
        _read(Path(folder))


def test_a_tree_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several(tmp_path, 4)
    monkeypatch.setattr(listing, "_MOST_ENTRIES", 7)
    with pytest.raises(UserError, match=r"holds more than 7 files; give the folder of the images alone"):
        _read(tmp_path)
    monkeypatch.setattr(listing, "_MOST_ENTRIES", 8)
    assert len(_read(tmp_path).train) == 4
