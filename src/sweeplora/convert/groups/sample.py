"""Flags about preview images, as the group `sample`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, idle
from sweeplora.convert.reading.given import Given

_EVERY = {"sample_every_n_epochs": "sample.every_epochs", "sample_every_n_steps": "sample.every_steps"}


def entries(given: Given) -> list[Entry]:
    """The group `sample`."""
    every = {flag: given[flag] for flag in _EVERY if flag in given and given[flag] > 0}
    off = [idle(f"--{flag}", "0 draws none") for flag in _EVERY if flag in given and flag not in every]
    if not every and "sample_at_first" not in given:
        names = [name for name in ("sample_prompts", "sample_sampler") if name in given]
        note = "no flag says when to draw: --sample_every_n_steps, --sample_every_n_epochs or --sample_at_first"
        return [
            Entry("", "default", "sample", "none"),
            *(idle(f"--{name}", note) for name in names),
            *off,
        ]
    if not given["sample_prompts"]:
        names = [name for name in (*_EVERY, "sample_at_first", "sample_sampler") if name in given]
        note = "there is no --sample_prompts, so that nothing is drawn"
        return [Entry("", "default", "sample", "none"), *(idle(f"--{name}", note) for name in names)]
    size = (
        "a prompt without --w and --h is drawn at the training resolution, 512 there; one without --d with sample.seed"
    )
    entries = [
        Entry("", "default", "sample", "default"),
        became("--sample_prompts", "sample.prompts", given["sample_prompts"], size),
        given.taken("sample_sampler", "sample.sampler", given["sample_sampler"]),
        Entry("", "default", "sample.steps", 30, "sd-scripts', where a prompt says no --s"),
        Entry("", "default", "sample.guidance", 7.5, "sd-scripts', where a prompt says no --l"),
        given.taken("sample_at_first", "sample.at_first", given["sample_at_first"]),
        Entry("", "default", "sample.at_last", False, "sd-scripts draws none beside those asked for"),
    ]
    if len(every) == 2:
        entries.append(idle("--sample_every_n_steps", "--sample_every_n_epochs comes before it"))
        del every["sample_every_n_steps"]
    return [*entries, *(became(f"--{flag}", _EVERY[flag], value) for flag, value in every.items()), *off]
