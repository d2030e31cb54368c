"""Flipped bytes in images, captions, memos and cache entries: one line for the user or the right result."""

from __future__ import annotations

import random
import shutil
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


def _read(folder: Path, cache: Path) -> Dataset:
    return settings(folder, mask_dir=str(folder.parent / "masks"), resolution=32).read(16, 64, cache)


def _encoded(dataset: Dataset, place: Path) -> Values:
    """Everything that a training takes from the cache."""
    cache = Cache(place, lambda what, done, missing: None)
    latents, texts = cache.latents(dataset, TOY, "v"), cache.texts(dataset, TOY, "t", "cpu")
    fetched = [latents.fetch(one, centre_view(one)) for one in dataset.train]
    text = texts.encode([one.caption for one in dataset.train])
    masks = [one.mask for one in fetched if one.mask is not None]
    return [*(one.content for one in fetched), *masks, text.hidden, text.pooled]


def _same(one: Values, other: Values) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def _damage(folder: Path, count: int) -> None:
    """What is damaged is told or does no harm, and what was kept of the whole file is not taken for the damaged one.

    Every byte of a PNG, and of an entry of the cache, has a checksum: with one of them changed nothing changes.
    """
    draw = random.Random(count)
    cache, other = folder.parent / "cache", folder.parent / "other"
    dataset = _read(folder, cache)
    reference, identity = _encoded(dataset, cache), content_hash(dataset)
    sources = [*folder.iterdir(), *(folder.parent / "masks").iterdir()]
    cached = [path for path in cache.rglob("*") if path.suffix in (".json", ".safetensors")]
    assert len(cached) > 3 * len(FORMATS)
    taken = 0
    for _ in range(count):
        path = draw.choice(draw.choice((sources, cached)))
        before = path.read_bytes()
        place = draw.randrange(len(before))
        flipped = bytes([before[place] ^ draw.randrange(1, 256)])
        path.write_bytes(before[:place] if draw.random() < 0.1 else before[:place] + flipped + before[place + 1 :])
        try:
            found = _read(folder, cache)
            values = _encoded(found, cache)
        except UserError as error:
            assert path in sources, error
            assert str(error).isprintable()
        else:
            if path in cached:
                assert _same(values, reference) and content_hash(found) == identity, path
            else:
                taken += path.suffix != ".txt"
                assert path.suffix != ".png" or _same(values, reference), f"{path}, byte {place}"
                assert content_hash(found) != identity, f"{path}, byte {place}"
                assert _same(values, _encoded(_read(folder, other), other)), f"{path}, byte {place}"
                shutil.rmtree(other)
        path.write_bytes(before)
    assert taken
    assert content_hash(_read(folder, cache)) == identity
    assert _same(_encoded(_read(folder, cache), cache), reference)


def test_forty_damaged_files_give_one_line_or_the_right_result(images: Path) -> None:
    _damage(images, 40)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1250, 1251])
def test_thousands_of_damaged_files_give_one_line_or_the_right_result(count: int, images: Path) -> None:
    _damage(images, count)
