"""Flags about preview images, validation and the log."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, aside, became, idle
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_EVERY = {"sample_every_n_epochs": "sample.every_epochs", "sample_every_n_steps": "sample.every_steps"}


def previews(given: Given) -> list[Entry]:
    """The group `sample`."""
    every = {flag: given[flag] for flag in _EVERY if flag in given and given[flag] > 0}
    off = [idle(f"--{flag}", "0 draws none") for flag in _EVERY if flag in given and flag not in every]
    if not every and "sample_at_first" not in given:
        names = [name for name in ("sample_prompts", "sample_sampler") if name in given]
        note = "nothing says when to draw: --sample_every_n_steps, --sample_every_n_epochs or --sample_at_first"
        return [
            Entry("", "default", "sample", "none"),
            *(idle(f"--{name}", note) for name in names),
            *off,
        ]
    if not given["sample_prompts"]:
        raise UserError("--sample_prompts", "", "previews are asked for and no file of prompts is given")
    size = (
        "a prompt without --w and --h is drawn at the training resolution, 512 there; one without --d with sample.seed"
    )
    entries = [
        Entry("", "default", "sample", "default"),
        became("--sample_prompts", "sample.prompts", given["sample_prompts"], size),
        given.taken("sample_sampler", "sample.sampler", given["sample_sampler"]),
        Entry("", "default", "sample.steps", 30, "the reference's, where a prompt says no --s"),
        Entry("", "default", "sample.guidance", 7.5, "the reference's, where a prompt says no --l"),
        given.taken("sample_at_first", "sample.at_first", given["sample_at_first"]),
        Entry("", "default", "sample.at_last", False, "the reference draws none beside those asked for"),
    ]
    if len(every) == 2:
        entries.append(idle("--sample_every_n_steps", "--sample_every_n_epochs comes before it"))
        del every["sample_every_n_steps"]
    return [*entries, *(became(f"--{flag}", _EVERY[flag], value) for flag, value in every.items()), *off]


def validation(given: Given, split: float, batch: int) -> list[Entry]:
    """When held-out images are scored: `split` is their share, `batch` how many images a batch holds."""
    flags = ("validation_seed", "validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps")
    if not split:
        return [idle(f"--{flag}", "no images are held out") for flag in flags if flag in given]
    seed = given["validation_seed"] if "validation_seed" in given else given["seed"] or 0
    entries = [
        given.taken("validation_seed", "data.validation_seed", seed, "" if "validation_seed" in given else "as --seed"),
        given.taken("validate_every_n_epochs", "train.validate_every_epochs", given["validate_every_n_epochs"] or 1),
        given.taken("validate_every_n_steps", "train.validate_every_steps", given["validate_every_n_steps"] or 0),
    ]
    if "max_validation_steps" in given:
        images = given["max_validation_steps"] * batch
        note = "batches there, images here"
        entries.append(became("--max_validation_steps", "train.validation_images", images, note))
    return entries


def log(given: Given) -> list[Entry]:
    """TensorBoard's part of the group `tracking`."""
    wants, folder = given["log_with"], given["logging_dir"]
    entries: list[Entry] = []
    if wants in ("wandb", "all"):
        note = "Weights & Biases is not supported; MLflow keeps the record" + (", TensorBoard too" if folder else "")
        entries.append(aside("--log_with", note))
    elif wants:
        entries.append(idle("--log_with", "--logging_dir says it"))
    if wants == "tensorboard" and not folder:
        raise UserError("--log_with", wants, "needs --logging_dir, in the reference too")
    if folder and wants != "wandb":
        entries.append(became("--logging_dir", "tracking.tensorboard", folder))
        if "log_prefix" in given:
            entries.append(became("--log_prefix", "tracking.tensorboard_prefix", given["log_prefix"]))
        return entries
    names = [name for name in ("logging_dir", "log_prefix") if name in given]
    return [*entries, *(idle(f"--{name}", "no TensorBoard log is written") for name in names)]
