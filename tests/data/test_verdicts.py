"""Verdicts on image files: what they say, and what is remembered of them."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from sweeplora.content import read_memo, write_memo
from sweeplora.data.verdicts import ImageVerdict, ImageVerdicts
from tests.data.folders import picture, several


def _only(path: Path, cache: Path | None = None) -> ImageVerdict:
    return ImageVerdicts(cache).judge([path])[0]


def test_equal_images_in_different_formats_have_the_same_levels(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png", (40, 30))
    with Image.open(path) as image:
        image.save(tmp_path / "b.webp", lossless=True)
        image.convert("RGBA").save(tmp_path / "c.tga")
        image.rotate(180).save(tmp_path / "d.png")
    found = ImageVerdicts(None).judge([tmp_path / name for name in ("a.png", "b.webp", "c.tga", "d.png")])
    assert len({one.sha256 for one in found}) == 4
    assert [one.levels == found[0].levels for one in found] == [True, True, True, False]


def test_the_boxes_are_around_what_is_lit_and_what_is_opaque(tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    image.paste((0, 90, 0, 1), (2, 3, 5, 9))
    image.paste((1, 0, 0, 0), (6, 0, 8, 4))
    image.save(tmp_path / "a.png")
    found = _only(tmp_path / "a.png")
    assert (found.lit, found.opaque) == ((6, 0, 8, 4), (2, 3, 5, 9))
    Image.new("RGBA", (20, 10), (0, 5, 5, 0)).save(tmp_path / "b.png")
    assert (_only(tmp_path / "b.png").lit, _only(tmp_path / "b.png").opaque) == (None, None)


def test_a_verdict_is_remembered_by_content_across_names(tmp_path: Path) -> None:
    first = picture(tmp_path / "a.png")
    _only(first, tmp_path / "cache")
    copy = tmp_path / "b.png"
    copy.write_bytes(first.read_bytes())
    memo = tmp_path / "cache" / "images.json"
    remembered = {key: [7, 9, *one[2:]] for key, one in read_memo(memo, 4).items()}
    write_memo(memo, 4, remembered)
    assert _only(copy, tmp_path / "cache").size == (7, 9)


def test_an_edited_memo_is_not_believed(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    before = _only(path, tmp_path / "cache")
    memo = tmp_path / "cache" / "images.json"
    memo.write_text(memo.read_text().replace("64", "74"))
    assert _only(path, tmp_path / "cache") == before


def test_a_replaced_file_is_judged_anew(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    _only(path, tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:99])
    judged = _only(path, tmp_path / "cache")
    assert judged.size is None
    assert judged.fault is not None


def test_a_torn_memo_costs_nothing_but_time(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    (tmp_path / "cache").mkdir()
    for torn in ('{"checksum": "1", "ent', "[]", "{}", "3", "[" * 100_000):
        (tmp_path / "cache" / "images.json").write_text(torn)
        (tmp_path / "cache" / "hashes.json").write_text(torn)
        assert _only(path, tmp_path / "cache").size == (64, 64)


def test_a_remembered_fault_is_a_fault_again(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("F", (4, 4)).save(stream, "TIFF")
    (tmp_path / "a.tif").write_bytes(stream.getvalue())
    for _ in range(2):
        assert "mode F" in str(_only(tmp_path / "a.tif", tmp_path / "cache").fault)


def test_nothing_is_written_without_a_cache(tmp_path: Path) -> None:
    several(tmp_path / "images", 2)
    ImageVerdicts(None).judge(sorted((tmp_path / "images").glob("*.png")))
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
