"""Image files: what is decoded to which colours, what is refused, and what is remembered."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeplora.data.images import ImageFault, Verdicts, decode
from tests.data.folders import picture, several


def _bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pixel(data: bytes) -> tuple[int, ...]:
    image = decode(data)
    assert image.mode == "RGB"
    return tuple(int(level) for level in np.asarray(image)[0, 0])


def test_transparent_pixels_come_on_white() -> None:
    assert _pixel(_bytes(Image.new("RGBA", (4, 4), (200, 0, 0, 0)))) == (255, 255, 255)
    assert _pixel(_bytes(Image.new("RGBA", (4, 4), (0, 0, 0, 51)))) == (204, 204, 204)
    assert _pixel(_bytes(Image.new("LA", (4, 4), (0, 0)))) == (255, 255, 255)


def test_a_palette_gives_its_colours_and_its_transparency() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    assert _pixel(_bytes(image)) == (10, 20, 30)
    assert _pixel(_bytes(image, transparency=1)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    levels = np.full((4, 4), 257 * 100, dtype=np.uint16)
    assert _pixel(_bytes(Image.fromarray(levels))) == (100, 100, 100)
    assert _pixel(_bytes(Image.fromarray(levels), "TIFF")) == (100, 100, 100)


@pytest.mark.parametrize(("mode", "colour"), [("L", 7), ("1", 1), ("CMYK", (0, 0, 0, 0)), ("YCbCr", (255, 128, 128))])
def test_other_colours_become_rgb(mode: str, colour: int | tuple[int, ...]) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert set(_pixel(_bytes(Image.new(mode, (4, 4), colour), kind))) == {7 if mode == "L" else 255}


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(_bytes(Image.new("RGB", (30, 20)), "JPEG", exif=exif)).size == (20, 30)


def test_a_second_picture_inside_a_jpeg_is_not_an_animation() -> None:
    image, small = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (8, 8))
    data = _bytes(image, "MPO", save_all=True, append_images=[small])
    assert decode(data).size == (30, 20)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_moving_pictures_are_refused_and_single_frames_are_not(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green")]
    assert decode(_bytes(frames[0], kind)).size == (16, 16)
    with pytest.raises(ImageFault, match="animated"):
        decode(_bytes(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_colours_without_plain_rgb_are_refused_by_name() -> None:
    with pytest.raises(ImageFault, match="mode F"):
        decode(_bytes(Image.new("F", (4, 4)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_every_cut_off_file_is_refused(kind: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = _bytes(Image.fromarray(levels), kind)
    for share in (0.02, 0.2, 0.5, 0.9):
        with pytest.raises(ImageFault):
            decode(data[: int(len(data) * share)])


def test_damage_inside_a_png_is_refused() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = bytearray(_bytes(Image.fromarray(levels)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageFault):
        decode(bytes(data))


def test_what_is_no_image_is_refused() -> None:
    for data in (b"", b"<html>not found</html>"):
        with pytest.raises(ImageFault, match="not an image"):
            decode(data)


def test_a_verdict_is_remembered_by_content_across_names(tmp_path: Path) -> None:
    first = picture(tmp_path / "a.png")
    Verdicts(tmp_path / "cache").judge([first])
    copy = tmp_path / "b.png"
    copy.write_bytes(first.read_bytes())
    memo = tmp_path / "cache" / "images.json"
    memo.write_text(memo.read_text().replace("[64, 64]", "[7, 9]"))
    assert Verdicts(tmp_path / "cache").judge([copy])[0].size == (7, 9)


def test_a_replaced_file_is_judged_anew(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    Verdicts(tmp_path / "cache").judge([path])
    path.write_bytes(path.read_bytes()[:99])
    judged = Verdicts(tmp_path / "cache").judge([path])[0]
    assert judged.size is None
    assert judged.fault is not None


def test_a_torn_memo_costs_nothing_but_time(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.png")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "images.json").write_text('{"rules": 1, "verd')
    assert Verdicts(tmp_path / "cache").judge([path])[0].size == (64, 64)


def test_nothing_is_written_without_a_cache(tmp_path: Path) -> None:
    several(tmp_path / "images", 2)
    Verdicts(None).judge(sorted((tmp_path / "images").glob("*.png")))
    assert [path.name for path in tmp_path.iterdir()] == ["images"]
