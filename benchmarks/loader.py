"""The rate at which the loader becomes the bottleneck: images per second for several numbers of workers.

    python benchmarks/loader.py [--workers 0 1 4 8] [--images 64]

Cached latents and text encoder outputs of SDXL's size at 1024 x 1024 are read from memory, from files in the system's
page cache, and from files that are not in it; images are decoded from each format, at the bucket's size and larger.
Nothing is encoded and no step is trained. Passes with different numbers of workers alternate, and the best pass of
each counts. On a busy machine the processor time per image tells more than the rate: W workers on separate cores give
up to W images in that time. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.data.batches import plan
from sweeplora.data.cache import Cache, Texts
from sweeplora.data.captions import Moment
from sweeplora.data.dataset import Dataset
from sweeplora.data.latents import Latents, OnlineLatents
from sweeplora.data.loader import Loaded, Loader, Request
from sweeplora.models.family import Family, Text

BATCH = 4
SIDE = 1024
LARGER = 1536
Spent = tuple[float, float]
OnePass = Callable[[int], Spent]
FORMATS: dict[str, dict[str, Any]] = {"png": {}, "jpg": {"quality": 92}, "webp": {"quality": 90}}


class StandIn:
    """Returns outputs of SDXL's sizes without computing them."""

    token_limit, latent_channels, scale_factor = 77, 4, 8

    def __init__(self) -> None:
        self.vae = nn.Linear(1, 1)
        self.text_encoders = [nn.Linear(1, 1)]

    def encode_images(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        shape = (len(pixels), self.latent_channels, SIDE // self.scale_factor, SIDE // self.scale_factor)
        return torch.randn(shape), torch.rand(shape)

    def encode_text(self, captions: Sequence[str], weighted: bool = False) -> Text:
        return Text(torch.randn(len(captions), self.token_limit, 2048), torch.randn(len(captions), 1280))


def main() -> None:
    arguments = parse()
    torch.set_num_threads(1)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, count, one_pass in cases(Path(folder), arguments.images):
            best = dict.fromkeys(arguments.workers, (math.inf, math.inf))
            for _ in range(arguments.passes):
                for workers in arguments.workers:
                    best[workers] = min(best[workers], one_pass(workers))
            results[name] = {str(workers): rates(count, *spent) for workers, spent in best.items()}
    cores = len(os.sched_getaffinity(0))
    print(json.dumps({"batch": BATCH, "cores": cores, "by_workers": results}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 4, 8])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--passes", type=int, default=3)
    return parser.parse_args()


def rates(count: int, seconds: float, processor: float) -> dict[str, float]:
    """Images per second, milliseconds per step's batch, and processor milliseconds per image."""
    return {
        "images_a_second": round(count / seconds, 1),
        "ms_a_step": round(seconds / count * BATCH * 1000, 2),
        "processor_ms_an_image": round(processor / count * 1000, 2),
    }


def cases(folder: Path, count: int) -> Iterator[tuple[str, int, OnePass]]:
    """Name, number of images, and a function that makes one pass with a number of workers and returns its times."""
    family = cast(Family, StandIn())
    for suffix in FORMATS:
        for side in (SIDE, LARGER):
            dataset = pictures(folder / f"{suffix}-{side}", suffix, side, count // 4)
            yield f"{suffix}, {side}", count // 4, partial(decoded, dataset, family)
    dataset = pictures(folder / "kept", "jpg", SIDE, count)
    for name, kept_bytes in (("memory", 1 << 30), ("files held by the system", 0), ("files", 0)):
        cache = Cache(folder / "cache", lambda what, done, missing: None, kept_bytes)
        latents = cache.latents(dataset, family, "stand-in")
        texts = cache.texts(dataset, family, "stand-in", "cpu")
        forgotten = folder / "cache" if name == "files" else None
        yield f"kept, {name}", count, partial(kept, dataset, latents, texts, forgotten)


def decoded(dataset: Dataset, family: Family, workers: int) -> Spent:
    """Decode and prepare all images up to the VAE's input."""
    dataset = replace(dataset, workers=workers)
    return timed(dataset, Loader(dataset, OnlineLatents(family, 1), no_text, 0), lambda loaded: None)


def kept(dataset: Dataset, latents: Latents, texts: Texts, forgotten: Path | None, workers: int) -> Spent:
    """Draw all latents and look up all texts, after evicting the files in `forgotten` from the page cache."""
    if forgotten is not None:
        evict(forgotten)
    dataset = replace(dataset, workers=workers)
    loader = Loader(dataset, latents, texts.encode, 0)
    return timed(dataset, loader, lambda loaded: (loaded.latents(), loaded.text()))


def no_text(captions: Sequence[str]) -> Text:
    """Must not be called: only the pixels are requested."""
    raise AssertionError("nothing is encoded here")


def pictures(folder: Path, suffix: str, side: int, count: int) -> Dataset:
    """A dataset of images as detailed as photographs."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(count):
        coarse = random.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC), np.int16)
        grainy = np.clip(smooth + random.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(grainy).save(folder / f"{index}.{suffix}", **FORMATS[suffix])
        (folder / f"{index}.txt").write_text(f"picture {index}")
    config = yaml.safe_load(compose(["data=folder", f"data.dir={folder}", f"data.resolution={SIDE}"]).yaml)
    dataset: Dataset = build(config["data"]).read(64, SIDE)
    return dataset


def timed(dataset: Dataset, loader: Loader, take: Callable[[Loaded], object]) -> Spent:
    """Wall-clock seconds and processor seconds (all cores) of one epoch that calls `take` with every batch."""
    requests = [Request(batch, Moment(1, step, 100)) for step, batch in enumerate(plan(dataset, BATCH, 0, 1))]
    started = (time.perf_counter(), time.process_time())
    with closing(loader.stream(requests)) as stream:
        for loaded in stream:
            take(loaded)
    return time.perf_counter() - started[0], time.process_time() - started[1]


def evict(folder: Path) -> None:
    """Ask the system to drop the files below `folder` from its page cache."""
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
