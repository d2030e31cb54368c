"""Flags about preview images, as the group `sample`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given

_EVERY = {"sample_every_n_epochs": "sample.every_epochs", "sample_every_n_steps": "sample.every_steps"}


def entries(given: Given) -> list[Entry]:
    """The group `sample`."""
    every = {flag: given[flag] for flag in _EVERY if flag in given and given[flag] > 0}
    off = [no_effect(f"--{flag}", "0 draws none") for flag in _EVERY if flag in given and flag not in every]
    if not every and "sample_at_first" not in given:
        names = [name for name in ("sample_prompts", "sample_sampler") if name in given]
        note = "no flag says when to draw: --sample_every_n_steps, --sample_every_n_epochs or --sample_at_first"
        return [
            Entry("", "default", "sample", "none"),
            *(no_effect(f"--{name}", note) for name in names),
            *off,
        ]
    if not given["sample_prompts"]:
        names = [name for name in (*_EVERY, "sample_at_first", "sample_sampler") if name in given]
        note = "without --sample_prompts nothing is drawn"
        return [Entry("", "default", "sample", "none"), *(no_effect(f"--{name}", note) for name in names)]
    size = (
        "prompts without --w and --h use the training resolution (512 in sd-scripts), those without --d use sample.seed"
    )
    entries = [
        Entry("", "default", "sample", "default"),
        became("--sample_prompts", "sample.prompts", given["sample_prompts"], size),
        given.taken("sample_sampler", "sample.sampler", given["sample_sampler"]),
        Entry("", "default", "sample.steps", 30, "sd-scripts', where a prompt says no --s"),
        Entry("", "default", "sample.guidance", 7.5, "sd-scripts', where a prompt says no --l"),
        given.taken("sample_at_first", "sample.at_first", given["sample_at_first"]),
        Entry("", "default", "sample.at_last", False, "sd-scripts draws only those asked for"),
    ]
    if len(every) == 2:
        entries.append(no_effect("--sample_every_n_steps", "--sample_every_n_epochs overrides it"))
        del every["sample_every_n_steps"]
    return [*entries, *(became(f"--{flag}", _EVERY[flag], value) for flag, value in every.items()), *off]
