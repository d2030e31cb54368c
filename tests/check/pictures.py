"""Pictures for the tests of what is checked before a training."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def six_pictures(folder: Path) -> Path:
    """Make a folder with six captioned pictures of 64 x 64, all different."""
    folder.mkdir()
    for number in range(6):
        Image.new("RGB", (64, 64), (40 * number, 9, 9)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture {number}")
    return folder
