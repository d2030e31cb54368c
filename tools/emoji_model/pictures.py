"""Emoji pictures on white canvases of any size."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

WHITE = (255, 255, 255)


def open_picture(path: Path) -> Image.Image:
    """The picture with its transparency (RGBA)."""
    with Image.open(path) as picture:
        return picture.convert("RGBA")


def compose(
    picture: Image.Image, canvas: tuple[int, int], size: int, place: tuple[float, float] = (0.5, 0.5)
) -> Image.Image:
    """The picture scaled to `size` x `size` on a white RGB canvas of (width, height) pixels.

    `place` says where in the free room it stands: (0, 0) is the upper left corner, (1, 1) the lower right.
    """
    width, height = canvas
    if size > min(width, height):
        raise ValueError(f"a picture of {size} pixels does not fit a canvas of {width} x {height}")
    scaled = picture if picture.size == (size, size) else picture.resize((size, size), Image.Resampling.LANCZOS)
    page = Image.new("RGB", canvas, WHITE)
    left, top = round((width - size) * place[0]), round((height - size) * place[1])
    page.paste(scaled, (left, top), scaled)
    return page
