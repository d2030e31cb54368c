"""Caption files: which text is read from which bytes, what is refused, and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeplora.data.caption_files import decode_text
from sweeplora.data.dataset import Dataset, content_hash, manifest
from sweeplora.errors import UserError
from tests.data.folders import picture, settings, several


def _read(folder: Path, **changes: Any) -> Dataset:
    return settings(folder, **changes).read(divisor=16, default_resolution=64)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings_and_plain_utf8_are_read(encoding: str) -> None:
    assert decode_text("a cat, 猫\r\nb\rc".encode(encoding)) == "a cat, 猫\nb\nc"
    assert decode_text(b"\xfe\xff" + "cat".encode("utf-16-be")) == "cat"


@pytest.mark.parametrize("text", ["кошка, café, γάτα", "חתול, قطة", "ლ(ಠ_ಠლ) ö", "10 µm, 5°, naïve Ωmega"])
def test_text_in_any_alphabet_is_read(text: str) -> None:
    assert decode_text(text.encode()) == text


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("a cat".encode("utf-16-le"), "holds NUL characters, as UTF-16"),
        ("a cat".encode("utf-16-be"), "holds NUL characters, as UTF-16"),
        ("猫, cat".encode("utf-32-be"), "holds NUL characters|is not UTF-8"),
        ("café".encode("cp1252"), "is not UTF-8 text; save it as UTF-8"),
        ("一只可爱的猫".encode("gbk"), "is not UTF-8"),
        ("一只猫".encode("gbk"), "is UTF-8 by accident"),
        ("猫の絵".encode("shift-jis"), "is not UTF-8"),
        ("猫の絵".encode("iso2022_jp"), "holds control characters"),
        (b"\xff\xfea", "is not UTF-16"),
        (b"\x89PNG\r\n\x1a\n", "is not UTF-8"),
        (b"a\x02b", "holds control characters"),
    ],
)
def test_other_encodings_are_refused_by_name_and_never_guessed(tmp_path: Path, data: bytes, why: str) -> None:
    picture(tmp_path / "a.png").with_suffix(".txt").write_bytes(data)
    with pytest.raises(UserError, match=rf"a.txt: the caption ({why})"):
        _read(tmp_path)


def test_of_several_lines_the_first_is_trained_and_recorded_and_this_is_said(tmp_path: Path) -> None:
    several(tmp_path, 2)
    (tmp_path / "000.txt").write_text("\n  red cat \n\n the second line\n")
    dataset = _read(tmp_path)
    assert dataset.train[0].caption == "red cat"
    assert manifest(dataset)[0]["caption"] == "red cat"
    said = "1 caption trains its first line alone: 000.txt; data.wildcards=true takes one of their lines at random"
    assert dataset.notices == (f"data.dir: {said}",)
    (tmp_path / "000.txt").write_text("red cat\nanother second line")
    assert content_hash(_read(tmp_path)) == content_hash(dataset)
    whole = _read(tmp_path, wildcards=True)
    assert whole.train[0].caption == "red cat\nanother second line"
    assert whole.notices == ()


@pytest.mark.parametrize("text", ["", "  \n", ", ,, ", ",\nsecond line", " ，、,\n ,"])  # noqa: RUF001
def test_a_caption_without_a_word_is_an_empty_one(tmp_path: Path, text: str) -> None:
    picture(tmp_path / "a.png", caption=text)
    with pytest.raises(UserError, match=r"1 of 1 images with an empty caption file \(first: a.png\)"):
        _read(tmp_path)
    assert _read(tmp_path, caption_prefix="p").train[0].caption == ""


def test_captions_without_an_image_are_said(tmp_path: Path) -> None:
    several(tmp_path, 2)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "gone.txt").write_text("x")
    (tmp_path / "readme.txt").write_text("x")
    said = "2 captions belong to no image: readme.txt, sub/gone.txt"
    assert _read(tmp_path).notices == (f"data.dir: {said}",)


def test_images_that_share_a_name_are_said(tmp_path: Path) -> None:
    picture(tmp_path / "p.png", seed=1)
    picture(tmp_path / "p.webp", seed=2)
    picture(tmp_path / "sub" / "p.png", seed=3)
    said = "2 images share their names, and so their captions: p.png, p.webp"
    assert _read(tmp_path).notices == (f"data.dir: {said}",)


def test_a_second_kind_of_caption_files_is_said_or_offered(tmp_path: Path) -> None:
    several(tmp_path, 2)
    (tmp_path / "000.caption").write_text("other")
    (tmp_path / "001.TXT").write_text("other")
    said = "2 caption files are not read: 000.caption, 001.TXT; those that end in .txt are"
    assert _read(tmp_path).notices == (f"data.dir: {said}",)
    (tmp_path / "001.TXT").unlink()
    said = "1 caption file is not read: 000.caption; those that end in .txt are"
    assert _read(tmp_path).notices == (f"data.dir: {said} (data.caption_extension=.caption reads these instead)",)
    (tmp_path / "000.txt").unlink()
    message = r"1 of 2 images without a caption \(first: 000.png\); 000.caption is there: give data.caption_extension="
    with pytest.raises(UserError, match=message):
        _read(tmp_path)


def test_a_caption_that_links_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "elsewhere" / "passwd"
    secret.parent.mkdir()
    secret.write_text("root:x:0:0")
    picture(tmp_path / "set" / "a.png", caption=None)
    (tmp_path / "set" / "a.txt").symlink_to(secret)
    with pytest.raises(UserError, match=r"a.txt: the caption is a link out of the data folder, to .*/passwd"):
        _read(tmp_path / "set")
    secret.unlink()
    with pytest.raises(UserError, match=r"a.txt: the caption is a link to nothing"):
        _read(tmp_path / "set", class_tokens="x")


def test_data_sets_of_links_are_read(tmp_path: Path) -> None:
    several(tmp_path / "store", 2)
    several(tmp_path / "set" / "inner", 1)
    (tmp_path / "set" / "same.png").symlink_to(tmp_path / "set" / "inner" / "000.png")
    (tmp_path / "set" / "same.txt").symlink_to(tmp_path / "set" / "inner" / "000.txt")
    for name in ("001.png", "001.txt"):  # both, one by one, as a hub's cache does
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "store")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    names = [one.name for one in _read(tmp_path / "link").train]
    assert names == ["001.png", "inner/000.png", "linked/000.png", "linked/001.png", "same.png"]


def test_a_file_too_large_for_a_caption_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", caption="word " * 300_000)
    with pytest.raises(UserError, match=r"a.txt: is larger than 1 MiB"):
        _read(tmp_path)
