"""Image files: what is decoded to which colours, what is refused, and what is remembered."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from sweeplora.data.decode import ImageFault, decode


def _bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pixel(data: bytes) -> tuple[int, ...]:
    image = decode(data)
    assert image.mode == "RGB"
    return tuple(int(level) for level in np.asarray(image)[0, 0])


def _png(levels: np.ndarray, colour: int, size: tuple[int, int] | None = None) -> bytes:
    """A PNG of 16-bit levels [H, W, channels], which Pillow cannot write; `size` is what its header claims."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, _ = levels.shape
    header = struct.pack(">IIBBBBB", *(size or (width, height)), 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


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


def test_of_sixteen_bit_colours_the_upper_eight_count() -> None:
    assert _pixel(_png(np.full((2, 2, 3), 0x80FF), colour=2)) == (128, 128, 128)
    assert _pixel(_png(np.tile([0x80FF, 0x1000, 0, 0xFFFF], (2, 2, 1)), colour=6)) == (128, 16, 0)
    assert _pixel(_png(np.tile([0x8000, 0], (2, 2, 1)), colour=4)) == (255, 255, 255)


def test_grey_of_more_than_sixteen_bits_is_refused() -> None:
    with pytest.raises(ImageFault, match="32-bit grey"):
        decode(_bytes(Image.fromarray(np.full((4, 4), 70000, dtype=np.int32)), "TIFF"))


def test_below_transparency_lie_the_colours_that_the_file_holds() -> None:
    see_through = decode(_bytes(Image.new("RGBA", (4, 4), (200, 10, 0, 51))), keep_alpha=True)
    assert (see_through.mode, see_through.getpixel((0, 0))) == ("RGBA", (200, 10, 0, 51))
    opaque = decode(_bytes(Image.new("L", (4, 4), 9), "JPEG"), keep_alpha=True)
    assert (opaque.mode, opaque.getpixel((0, 0))) == ("RGBA", (9, 9, 9, 255))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode(_bytes(palette, transparency=1), keep_alpha=True).getpixel((0, 0)) == (10, 20, 30, 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "AVIF", "TIFF", "GIF"])
def test_every_format_gives_its_colours(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "AVIF" else {}
    assert _pixel(_bytes(Image.new("RGB", (16, 16), (250, 100, 30)), kind, **options)) == pytest.approx(
        (250, 100, 30), abs=2
    )


@pytest.mark.parametrize(("mode", "colour"), [("L", 7), ("1", 1), ("CMYK", (0, 0, 0, 0)), ("YCbCr", (255, 128, 128))])
def test_other_colours_become_rgb(mode: str, colour: int | tuple[int, ...]) -> None:
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert set(_pixel(_bytes(Image.new(mode, (4, 4), colour), kind))) == {7 if mode == "L" else 255}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_a_photo_is_turned_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode(_bytes(Image.new("RGB", (30, 20)), kind, exif=exif)).size == (20, 30)


def test_a_turned_photo_is_turned_the_right_way() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its top is at the right
    image = Image.new("RGB", (2, 1), "red")
    image.putpixel((1, 0), (0, 0, 255))
    upright = decode(_bytes(image, "PNG", exif=exif))
    assert [upright.getpixel((0, y)) for y in range(2)] == [(255, 0, 0), (0, 0, 255)]


def test_a_second_picture_inside_a_jpeg_is_not_an_animation() -> None:
    image, small = Image.new("RGB", (30, 20), "red"), Image.new("RGB", (8, 8))
    data = _bytes(image, "MPO", save_all=True, append_images=[small])
    assert decode(data).size == (30, 20)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_moving_pictures_are_refused_and_single_frames_are_not(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green")]
    assert decode(_bytes(frames[0], kind)).size == (16, 16)
    with pytest.raises(ImageFault, match="animated"):
        decode(_bytes(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_colours_without_plain_rgb_are_refused_by_name() -> None:
    with pytest.raises(ImageFault, match="mode F"):
        decode(_bytes(Image.new("F", (4, 4)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "AVIF"])
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


def test_a_picture_that_claims_to_be_enormous_is_refused_unread() -> None:
    with pytest.raises(ImageFault, match="more pixels than any training"):
        decode(_png(np.zeros((1, 1, 3)), colour=2, size=(30000, 30000)))


def test_what_is_no_image_is_refused() -> None:
    for data in (b"", b"<html>not found</html>"):
        with pytest.raises(ImageFault, match=r"not an image|an empty file"):
            decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "TGA", "PPM", "PCX", "JPEG2000", "DIB", "QOI", "SGI"])
def test_the_rarer_formats_are_read_too(kind: str) -> None:
    options = {"irreversible": False} if kind == "JPEG2000" else {"quality": 100} if kind == "JPEG" else {}
    data = _bytes(Image.new("RGB", (16, 16), (250, 100, 30)), kind, **options)
    assert _pixel(data) == pytest.approx((250, 100, 30), abs=3)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _described(*chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    data = _bytes(Image.new("RGB", (30, 20), (9, 8, 7)))
    return data[:33] + b"".join(chunks) + data[33:]


@pytest.mark.parametrize("mebibytes", [2, 300])
def test_text_and_profiles_inside_a_png_may_be_as_large_as_they_like(mebibytes: int) -> None:
    packed = zlib.compress(bytes(mebibytes << 20), 1)
    chunks = [
        _chunk(b"zTXt", b"workflow\0\0" + packed),
        _chunk(b"iTXt", b"workflow\0\1\0\0\0" + packed),
        _chunk(b"iCCP", b"profile\0\0" + packed),
        _chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
        _chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed),
    ]
    for chunk in chunks:
        assert _pixel(_described(chunk)) == (9, 8, 7)
    assert _pixel(_described(*chunks)) == (9, 8, 7)


def test_the_orientation_in_a_pngs_text_is_followed() -> None:
    xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="6"/>'
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b'<x tiff:Orientation="6"/>')
    for content in (xmp, packed):
        assert decode(_described(_chunk(b"iTXt", content))).size == (20, 30)


def test_a_png_that_inflates_without_end_is_refused() -> None:
    data = _png(np.zeros((1, 1, 3)), colour=2, size=(20000, 20000))
    with pytest.raises(ImageFault, match="more pixels than any training"):
        decode(data)


def test_an_image_with_a_small_copy_of_itself_is_a_still_one() -> None:
    copy = Image.new("RGB", (8, 8))
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[254] = 1
    stream = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(stream, new=True) as writer:
        Image.new("RGB", (30, 20), (9, 8, 7)).save(writer, "TIFF")
        writer.newFrame()
        copy.save(writer, "TIFF", tiffinfo=info)
    assert decode(stream.getvalue()).size == (30, 20)


def test_a_file_that_another_program_would_draw_is_no_image() -> None:
    with pytest.raises(ImageFault, match="not an image"):
        decode(_bytes(Image.new("RGB", (16, 16)), "EPS"))


def test_a_png_with_a_changed_bit_is_damaged_or_the_same_picture() -> None:
    """Every bit of a small one, in which zlib has all pixels before it sees that its own checksum is wrong."""
    whole = _bytes(Image.new("L", (24, 24), 109))
    pixels, faults = decode(whole).tobytes(), 0
    for place in range(len(whole)):
        for bit in range(8):
            changed = whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :]
            try:
                assert decode(changed).tobytes() == pixels, (place, bit)
            except ImageFault:
                faults += 1
    assert faults > 400
