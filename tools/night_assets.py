"""Make what the nightly question brings along: masks of the emoji, and a random model of SD 1.5's architecture.

    python tools/night_assets.py

Both follow from the shipped images and from one seed, and are committed: a night's baseline holds hashes of their
contents, which a newer library must not change.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sweeplora.models import tiny

ASSETS = Path(__file__).resolve().parents[1] / "src" / "sweeplora" / "assets"
_BACKGROUND = 64
_WHITE = 250


def masks(images: Path, into: Path) -> None:
    """A mask for each image: all of the loss on the emoji, a quarter of it on the white around it."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    for file in sorted(images.glob("*.png")):
        darkest = np.asarray(Image.open(file).convert("RGB")).min(axis=2)
        mask = np.where(darkest < _WHITE, 255, _BACKGROUND).astype(np.uint8)
        Image.fromarray(mask, "L").save(into / file.name, optimize=True)


def sd15(into: Path) -> None:
    """The random model of `models/tiny.py` in half precision."""
    shutil.rmtree(into, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        built = tiny.build(Path(temporary) / "sd15", "sd15", seed=15)
        for file in sorted(built.rglob("*.safetensors")):
            save_file(
                {name: tensor.to(torch.float16) for name, tensor in load_file(file).items()}, file, {"format": "pt"}
            )
        shutil.copytree(built, into)


if __name__ == "__main__":
    masks(ASSETS / "data" / "twemoji-style" / "train", ASSETS / "data" / "twemoji-masks")
    sd15(ASSETS / "models" / "tiny-sd15")
