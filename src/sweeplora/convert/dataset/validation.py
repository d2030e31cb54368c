"""When validation runs, and on how many held-out images."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given


def validation(given: Given, split: float, batch: int) -> list[Entry]:
    """When validation runs: `split` is the share of held-out images, `batch` the number of images in a batch."""
    flags = ("validation_seed", "validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps")
    if not split:
        return [no_effect(f"--{flag}", "no images are held out") for flag in flags if flag in given]
    seed = given["validation_seed"] if "validation_seed" in given else given["seed"] or 0
    entries = [
        given.taken("validation_seed", "data.validation_seed", seed, "" if "validation_seed" in given else "as --seed"),
        given.taken("validate_every_n_epochs", "train.validate_every_epochs", given["validate_every_n_epochs"] or 1),
        given.taken("validate_every_n_steps", "train.validate_every_steps", given["validate_every_n_steps"] or 0),
    ]
    if "max_validation_steps" in given:
        images = given["max_validation_steps"] * batch
        note = "sd-scripts counts batches, sweeplora images"
        entries.append(became("--max_validation_steps", "train.validation_images", images, note))
    return entries
