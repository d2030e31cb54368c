"""Weak random changes of an image's colours."""

from __future__ import annotations

import random

from PIL import Image

_CHANGED = 0.33
_LARGEST_TURN = 16.0
_GAMMA = (0.95, 1.05)


def change_color(image: Image.Image, draw: random.Random) -> Image.Image:
    """The RGB image, in a third of all cases with its hue or its brightness changed, each equally likely.

    The same as color_aug of sd-scripts: the hue turns by up to 16 degrees, or the levels from 0 to 255 are raised to a
    power between 0.95 and 1.05. As in sd-scripts they are not scaled to 1 first, so the brightness changes by up to
    about a quarter and levels above 255 are clipped.
    """
    if draw.random() > _CHANGED:
        return image
    if draw.random() > 0.5:
        return turn_hue(image, draw.uniform(-_LARGEST_TURN, _LARGEST_TURN))
    return raise_levels(image, draw.uniform(*_GAMMA))


def turn_hue(image: Image.Image, degrees: float) -> Image.Image:
    """The RGB image with all hues turned by `degrees`, rounded to 1/256 of a circle."""
    hue, saturation, value = image.convert("HSV").split()
    turn = round(degrees * 256 / 360)
    turned = hue.point([(level + turn) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def raise_levels(image: Image.Image, power: float) -> Image.Image:
    """The RGB image with every level from 0 to 255 raised to `power`, floored and clipped at 255."""
    return image.point([min(255, int(level**power)) for level in range(256)] * 3)
