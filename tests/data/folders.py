"""Image folders and settings for the tests of the data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from sweeplora.data.index import Folder

_SETTINGS = Path(__file__).parents[2] / "conf" / "data" / "folder.yaml"


def settings(folder: Path, **changes: Any) -> Folder:
    """The shipped settings of a folder, with changes."""
    values = yaml.safe_load(_SETTINGS.read_text())
    del values["_target_"]
    return Folder(**(values | {"dir": str(folder)} | changes))


def picture(path: Path, size: tuple[int, int] = (64, 64), caption: str | None = "a tag, b", seed: int = 0) -> Path:
    """An image of noise, different for each seed and size, with a caption beside it unless that is None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(levels).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


def several(folder: Path, count: int, size: tuple[int, int] = (64, 64)) -> Path:
    """A folder of `count` different images."""
    for number in range(count):
        picture(folder / f"{number:03}.png", size, f"tag {number}, other", seed=number)
    return folder
