"""Checks the prompts of the preview images, and that they are compatible with sampler and model."""

from __future__ import annotations

from sweeplora.check.model import CheckedModel
from sweeplora.check.parts import built
from sweeplora.data.dataset import Dataset
from sweeplora.errors import Problems
from sweeplora.experiment import Group
from sweeplora.training.previews.prompt import Prompt
from sweeplora.training.previews.prompts import check_prompts, read_prompts
from sweeplora.training.previews.settings import Sample


def note_previews(
    sample: Group, found: CheckedModel | None, dataset: Dataset | None, problems: Problems
) -> list[Prompt] | None:
    """Read the prompts and add what is wrong with them; an empty list if no preview is drawn.

    If the prompts come from the data's captions and the data set was refused, there are none to check.
    """
    from_pure_noise = found is not None and bool(found.model.scheduler["rescale_betas_zero_snr"])
    return problems.attempt(("sample",), lambda: _read(sample, dataset, from_pure_noise))


def _read(sample: Group, dataset: Dataset | None, from_pure_noise: bool) -> list[Prompt]:
    settings: Sample = built(sample)
    if not settings.draws:
        return []
    prompts = read_prompts(settings.prompts, settings.weighted, dataset)
    check_prompts(prompts, settings.sampler, settings.steps, settings.karras, from_pure_noise)
    return prompts
