"""The sample prompts of a run: from a file, a list, or a few captions of its data; no torch."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.data.captions import plain
from sweeplora.data.dataset import Dataset
from sweeplora.errors import UserError
from sweeplora.randomness import seed_of
from sweeplora.training.previews.prompt import KEY, Prompt, parse_entry, parse_line
from sweeplora.training.previews.samplers import Sampler, check_from_pure_noise, check_sampler
from sweeplora.training.previews.settings import Given

NUM_CAPTIONS = 4
"""Number of captions that serve as prompts if none are given."""

_SHAPE = (
    "expected a list of prompts, each a line or an object with at least `prompt`, or [prompt] with [[prompt.subset]]"
)
_SHOWN = 5


def read_prompts(given: Given, weighted: bool, dataset: Dataset | None) -> list[Prompt]:
    """The prompts of `sample.prompts`: from a file, a list or, with None, a few captions of the data.

    `weighted`: brackets in a prompt are emphasis. `dataset` None: there are no captions. Raises UserError with the
    position in the file or the list.
    """
    if given is None:
        return [] if dataset is None else caption_prompts(dataset, weighted)
    if isinstance(given, str):
        return read_file(Path(given))
    if not given:
        raise UserError(KEY, "[]", "holds no prompt; give some, null for captions of the data, or sample=none")
    return [parse_entry(entry, f"prompt {number}") for number, entry in enumerate(given, 1)]


def caption_prompts(dataset: Dataset, weighted: bool) -> list[Prompt]:
    """At most NUM_CAPTIONS different captions: of held-out images, then of training images if those are too few.

    The choice depends on the images' contents and validation_seed. A caption's brackets remain text, unless the
    training reads them as emphasis too.
    """
    trained = [picture for picture in dataset.train if not picture.treatment.is_reg]
    captions: dict[str, None] = {}
    for pictures in (dataset.validation, trained):
        ranked = sorted(pictures, key=lambda one: seed_of(dataset.validation_seed, "preview", one.sha256))
        captions |= dict.fromkeys(plain(one.caption, one.treatment.rules) for one in ranked)
    chosen = list(captions)[:NUM_CAPTIONS]
    if weighted and not dataset.weighted_captions:
        chosen = [re.sub(r"([\\()\[\]])", r"\\\1", caption) for caption in chosen]
    return [Prompt(caption) for caption in chosen]


def read_file(path: Path) -> list[Prompt]:
    """The prompts of a `.txt`, `.toml` or `.json` file, in order.

    A text file holds one prompt per line, followed by options `--n --w --h --d --s --l --ss`, and `#` comments.
    JSON is a list of objects or of such lines. TOML is sd-scripts' `[prompt]` with `[[prompt.subset]]`; values of
    `[prompt]` apply to every subset. Raises UserError with the position in the file.
    """
    if not path.is_file():
        mend = "not readable: there is no such file; write one prompt a line into a .txt, or give a list: ['a cat']"
        raise UserError(KEY, path, mend)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(KEY, path, f"not readable as UTF-8 text ({error.__class__.__name__})") from error
    match path.suffix.lower():
        case ".txt":
            prompts = _lines(text, path)
        case ".toml" | ".json":
            numbered = enumerate(_entries(text, path), 1)
            prompts = [parse_entry(entry, f"{path}, prompt {number}") for number, entry in numbered]
        case _:
            raise UserError(KEY, path, "prompts come as .txt, .toml or .json")
    if not prompts:
        raise UserError(KEY, path, "holds no prompt; write one a line, or choose sample=none")
    return prompts


def check_prompts(
    prompts: Sequence[Prompt], sampler: Sampler, steps: int, karras: bool, from_pure_noise: bool = False
) -> None:
    """Raise UserError for a prompt whose sampler and steps, its own or the settings', are incompatible.

    `from_pure_noise`: the model has zero terminal SNR.
    """
    for prompt in prompts:
        says = prompt.sampler is not None or prompt.steps is not None
        whose = f'the prompt "{prompt.prompt}" asks for it: ' if says else ""
        check_sampler(prompt.sampler or sampler, prompt.steps or steps, karras, whose)
        if from_pure_noise:
            check_from_pure_noise(prompt.sampler or sampler, prompt.steps or steps, karras, whose)


def rounded_sizes(prompts: Sequence[Prompt], divisor: int) -> list[str]:
    """A line that says which prompts are drawn at another size than they ask for, if any."""
    found = []
    for number, prompt in enumerate(prompts, 1):
        for name, asked in (("width", prompt.width), ("height", prompt.height)):
            if asked is not None and drawn_side(asked, divisor) != asked:
                found.append(f"prompt {number} at {name} {drawn_side(asked, divisor)} instead of {asked}")
    if not found:
        return []
    rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [f"this model draws sides that are multiples of {divisor}: {', '.join(found[:_SHOWN])}{rest}"]


def drawn_side(side: int, divisor: int) -> int:
    """The side in pixels that is drawn for a requested `side`."""
    return max(divisor, side - side % divisor)


def _lines(text: str, path: Path) -> list[Prompt]:
    numbered = enumerate(text.splitlines(), 1)
    return [
        parse_line(line, f"{path}, line {number}")
        for number, line in numbered
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _entries(text: str, path: Path) -> list[Any]:
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(KEY, path, f"cannot be parsed: {error}") from error
    if isinstance(content, dict):
        content = _subsets(content)
    if not isinstance(content, list):
        raise UserError(KEY, path, _SHAPE)
    return content


def _subsets(content: Mapping[str, Any]) -> list[Any] | None:
    """The prompts of `[prompt]` with `[[prompt.subset]]`; None for any other shape."""
    shared = content.get("prompt")
    if len(content) != 1 or not isinstance(shared, dict):
        return None
    subsets = shared.pop("subset", None)
    if not isinstance(subsets, list) or not all(isinstance(subset, dict) for subset in subsets):
        return None
    return [{**shared, **subset} for subset in subsets]
