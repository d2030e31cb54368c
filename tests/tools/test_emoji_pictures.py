"""Pictures stand on white canvases where they are asked to."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tools.emoji_model.pictures import compose

RED_HALF_CLEAR = (255, 0, 0, 128)


def test_transparency_lets_the_white_through() -> None:
    page = compose(Image.new("RGBA", (8, 8), RED_HALF_CLEAR), (8, 8), 8)
    assert page.mode == "RGB"
    red, green, blue = np.asarray(page)[4, 4].tolist()
    assert (red, green) == (255, blue)
    assert green == pytest.approx(127, abs=1)


@pytest.mark.parametrize(("place", "left"), [((0.0, 0.5), 0), ((0.5, 0.5), 4), ((1.0, 0.5), 8)])
def test_a_wide_canvas_holds_the_picture_where_it_is_put(place: tuple[float, float], left: int) -> None:
    page = compose(Image.new("RGBA", (8, 8), "black"), (16, 8), 8, place)
    dark = np.flatnonzero(np.asarray(page)[4].sum(axis=-1) == 0)
    assert dark.tolist() == list(range(left, left + 8))


def test_a_picture_is_scaled_to_the_size_asked_for() -> None:
    page = compose(Image.new("RGBA", (64, 64), "black"), (20, 12), 10)
    assert page.size == (20, 12)
    assert (np.asarray(page).sum(axis=-1) == 0).sum() == 100


def test_a_picture_larger_than_the_canvas_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        compose(Image.new("RGBA", (8, 8)), (16, 8), 9)
