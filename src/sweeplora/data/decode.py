"""Image files decoded to upright RGB."""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple, cast

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from sweeplora.data.png import has_damaged_pixels, without_descriptions

SUFFIXES = frozenset(
    (
        *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".webp", ".avif", ".avifs", ".gif"),
        *(".bmp", ".dib", ".tif", ".tiff", ".tga", ".icb", ".vda", ".vst", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx"),
        *(".qoi", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".sgi", ".bw"),
    )
)
"""Names that are taken for images. What is in a file decides how it is read, whatever its name."""

# Named one by one, so that no file makes Pillow start another program (EPS). TGA comes last: it has no signature.
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "PPM", "PCX", "QOI", "SGI", "TGA")
_NEW_SUBFILE_TYPE, _REDUCED_COPY = 254, 1
_MARGIN = 4  # a JPEG is decoded at so many times the size of a small copy, which then looks as from the whole image
_LYING = (5, 6, 7, 8)  # values of EXIF's orientation that exchange width and height

# Pillow warns of large images, which are welcome here; twice that size is an error, which decode() reports. It also
# warns of metadata that is damaged and not used.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageFault(Exception):
    """Why a file cannot be trained on, in a few words."""


def decode(data: bytes, *, keep_alpha: bool = False) -> Image.Image:
    """The image in a file's bytes as RGB: upright (EXIF), transparency on white, 16 bits as 8.

    With `keep_alpha` as RGBA instead: the colours below the transparency, opaque where the file has none. Raises
    ImageFault for a file that is no image, is truncated, is animated, or has colours without a plain RGB. Of 16-bit
    colours Pillow keeps the upper 8 bits; 16-bit grey is rounded. Colour profiles are ignored, also for CMYK.
    """
    if not data:
        raise ImageFault("is an empty file")
    image = _plain(_load(data))
    return image.convert("RGBA") if keep_alpha else on_white(image)


class Glance(NamedTuple):
    """An image's upright width and height in pixels, and a small RGB copy of it."""

    size: tuple[int, int]
    small: Image.Image


def glance(data: bytes, size: tuple[int, int]) -> Glance:
    """The upright size of the image in a file's bytes, and a copy of `size` pixels; a large JPEG is decoded small.

    Raises ImageFault as `decode` does.
    """
    if not data:
        raise ImageFault("is an empty file")
    image, upright = _load_small(data, (_MARGIN * size[0], _MARGIN * size[1]))
    # Alpha is not premultiplied when it is resized, so colours below full transparency may show a little.
    return Glance(upright, on_white(_plain(image).resize(size, Image.Resampling.BOX, reducing_gap=2.0)))


def on_white(image: Image.Image) -> Image.Image:
    """An RGB or RGBA image as RGB, its transparency blended with white."""
    if image.mode == "RGB":
        return image
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def _load(data: bytes) -> Image.Image:
    """The upright image in whatever mode Pillow reads it."""
    return _load_small(data, None)[0]


def _load_small(data: bytes, least: tuple[int, int] | None) -> tuple[Image.Image, tuple[int, int]]:
    """The upright image and the upright size in the file; a JPEG shrinks to no less than `least`, while decoded."""
    try:
        with Image.open(io.BytesIO(without_descriptions(data)), formats=_FORMATS) as image:
            _refuse_unusable(image)
            width, height = image.size
            if least is not None:
                image.draft(None, least)
            image.load()
            if image.format == "PNG" and has_damaged_pixels(data):
                raise ImageFault("is damaged (the checksum of its pixels is wrong)")
            lies = image.getexif().get(ExifTags.Base.Orientation) in _LYING
            return ImageOps.exif_transpose(image), (height, width) if lies else (width, height)
    except ImageFault:
        raise
    except UnidentifiedImageError:
        if data[4:10] == b"ftypav":
            raise ImageFault("is an AVIF file that is truncated, or that this Pillow was built without") from None
        raise ImageFault("is not an image that can be read") from None
    except Image.DecompressionBombError:
        raise ImageFault("has more pixels than any training can use") from None
    except Exception as error:  # Pillow's decoders report damage by whatever their parsing runs into
        raise ImageFault(f"is damaged or truncated ({' '.join(str(error).split())})") from None


def _refuse_unusable(image: Image.Image) -> None:
    # Some phones put a second image (depth, a small copy) into a JPEG: that is MPO and not animated.
    if image.format != "MPO" and _has_second_frame(image):
        raise ImageFault("is animated or has several pages")
    if image.mode in ("LAB", "HSV", "F"):
        raise ImageFault(f"has the colour mode {image.mode}, which has no plain RGB")


def _has_second_frame(image: Image.Image) -> bool:
    """Whether there is another frame than the first; a reduced copy in a TIFF is none."""
    try:
        image.seek(1)
    except EOFError:
        image.seek(0)
        return False
    if image.format == "TIFF":
        tags = cast("dict[int, int]", image.tag_v2)  # type: ignore[attr-defined]
        is_copy = bool(tags.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_COPY)
        image.seek(0)
        return not is_copy
    return True


def _plain(image: Image.Image) -> Image.Image:
    """The image with levels of 8 bits: RGBA where anything may be transparent, else RGB."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        # Pillow alone would clip 16-bit grey to white instead of scaling it.
        lowest, highest = cast("tuple[int, int]", image.getextrema())
        if lowest < 0 or highest >= 1 << 16:
            raise ImageFault("has 32-bit grey levels, which have no known white")
        return image.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L").convert("RGB")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
