"""Warnings before a training starts, one line each."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from sweeplora.check.parts import built, slot_of
from sweeplora.data.captions import plain
from sweeplora.data.dataset import Dataset
from sweeplora.models.facts import ModelFacts
from sweeplora.models.text.tokens import TokenizerFiles, over_limit
from sweeplora.training.previews.batches import Places, in_batches, waiting_notice
from sweeplora.training.previews.prompt import Prompt

Named = tuple[str, str]
"""A text's name, and the text."""

_SHOWN = 5
_LIMITS = (75, 150, 225)


def long_texts(
    config: Mapping[str, Any], model: ModelFacts, dataset: Dataset, prompts: Sequence[Prompt]
) -> tuple[str, ...]:
    """One line each for captions that are too long, prompts that are too long, and processes that wait."""
    captions = [(one.name, plain(one.caption, one.treatment.rules)) for one in (*dataset.train, *dataset.validation)]
    numbered = list(enumerate(prompts, 1))
    texts = [(f"prompt {number}", one.prompt) for number, one in numbered]
    texts += [(f"the negative of prompt {number}", one.negative) for number, one in numbered if one.negative]
    batches = in_batches(
        prompts, built(config["sample"]), dataset.resolution, Places(model.divisor, model.scale_factor)
    )
    waiting = waiting_notice(len(batches), slot_of(config["launcher"]).processes)
    long_captions = too_long(model, "caption", captions, dataset.weighted_captions)
    long_prompts = too_long(model, "prompt", texts, config["sample"]["weighted"])
    return (*long_captions, *long_prompts, *([] if waiting is None else [waiting]))


def too_long(model: ModelFacts, kind: str, texts: Sequence[Named], weighted: bool) -> list[str]:
    """The texts of a kind ("caption", "prompt") with more tokens than the limit, with their counts.

    Tokens over the limit are cut, as in every other trainer. `weighted`: brackets are emphasis.
    """
    found = _over(model.tokenizers, tuple(texts), model.max_tokens, weighted)
    if not found:
        return []
    shown = ", ".join(f"{name} has {count}" for name, count in found[:_SHOWN])
    rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    longest = max(count for _, count in found)
    enough = next((limit for limit in _LIMITS if limit >= longest), _LIMITS[-1])
    mend = f"; model.max_tokens={enough} takes {'more' if longest > enough else 'all'}"
    return [
        f"{len(found)} of {len(texts)} {kind}s are cut at model.max_tokens={model.max_tokens}: {shown}{rest}"
        f"{mend if enough > model.max_tokens else ''}"
    ]


@functools.lru_cache(maxsize=64)
def _over(
    tokenizers: tuple[TokenizerFiles, ...], texts: tuple[Named, ...], limit: int, weighted: bool
) -> tuple[tuple[str, int], ...]:
    found = over_limit(tokenizers, [text for _, text in texts], limit, weighted)
    counts = {over.text: over.count for over in found}
    return tuple((name, counts[text]) for name, text in texts if text in counts)
