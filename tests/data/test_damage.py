"""Flipped bytes in images, memos and cache entries: one line for the user or the right result, nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from sweeplora.data.cache import Cache
from sweeplora.data.dataset import Dataset, content_hash
from sweeplora.data.pixels import centre_view
from sweeplora.errors import UserError
from tests.data.folders import picture, settings
from tests.data.toy import Toy

FORMATS = ("png", "jpg", "webp", "avif", "gif", "bmp", "tiff", "tga", "ppm", "pcx", "qoi", "jp2", "sgi")
TOY = Toy()  # one for all: its weights are random
Values = list[torch.Tensor]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An image in every format, small and smooth so that most bytes matter, with captions and masks."""
    folder = tmp_path / "set"
    for number, suffix in enumerate(FORMATS):
        picture(folder / f"{number}.{suffix}", (24, 24), f"tag {number}", seed=number)
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.new("L", (24, 24), 100 + number).save(tmp_path / "masks" / f"{number}.png")
    return folder


def _read(folder: Path) -> Dataset:
    cache = folder.parent / "cache"
    return settings(folder, mask_dir=str(folder.parent / "masks"), resolution=32).read(16, 64, cache)


def _encoded(folder: Path, dataset: Dataset) -> Values:
    """Everything that a training takes from the cache."""
    cache = Cache(folder.parent / "cache", lambda what, done, missing: None)
    latents, texts = cache.latents(dataset, TOY, "v"), cache.texts(dataset, TOY, "t", "cpu")
    fetched = [latents.fetch(one, centre_view(one)) for one in dataset.train]
    text = texts.encode([one.caption for one in dataset.train])
    masks = [one.mask for one in fetched if one.mask is not None]
    return [*(one.content for one in fetched), *masks, text.hidden, text.pooled]


def _damage(folder: Path, count: int) -> None:
    draw = random.Random(count)
    dataset = _read(folder)
    reference, identity = _encoded(folder, dataset), content_hash(dataset)
    sources = [*folder.iterdir(), *(folder.parent / "masks").iterdir()]
    cached = [path for path in (folder.parent / "cache").rglob("*") if path.suffix in (".json", ".safetensors")]
    assert len(cached) > 3 * len(FORMATS)
    for _ in range(count):
        path = draw.choice(draw.choice((sources, cached)))
        before = path.read_bytes()
        place = draw.randrange(len(before))
        flipped = bytes([before[place] ^ draw.randrange(1, 256)])
        path.write_bytes(draw.choice((before[:place], before[:place] + flipped + before[place + 1 :])))
        try:
            found = _read(folder)
            values = _encoded(folder, found)
        except UserError as error:
            assert path in sources, error
            assert str(error).isprintable()
        else:
            same = len(values) == len(reference) and all(map(torch.equal, values, reference))
            assert path in sources or (same and content_hash(found) == identity), path
        path.write_bytes(before)
    assert content_hash(_read(folder)) == identity
    assert all(map(torch.equal, _encoded(folder, _read(folder)), reference))


def test_forty_damaged_files_give_one_line_or_the_right_result(images: Path) -> None:
    _damage(images, 40)


@pytest.mark.slow
def test_thousands_of_damaged_files_give_one_line_or_the_right_result(images: Path) -> None:
    _damage(images, 2000)
