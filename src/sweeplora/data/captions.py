"""Captions as a training sees them: prefix and suffix, dropout, shuffled and dropped tags."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class CaptionRules:
    """What is done to every caption; the rates are shares from 0 to 1."""

    prefix: str
    suffix: str
    separator: str
    shuffle: bool
    keep_tokens: int
    dropout: float
    tag_dropout: float


def is_fixed(rules: CaptionRules) -> bool:
    """Whether a caption is the same text at every step, so that its encoding can be kept."""
    return not (rules.shuffle or rules.dropout > 0 or rules.tag_dropout > 0)


def plain(caption: str, rules: CaptionRules) -> str:
    """The caption without its random parts, for validation: prefix, first line, suffix.

    It does not depend on any rule about dropping or shuffling, so that trials that differ in those are
    measured alike.
    """
    first_line = caption.strip().split("\n")[0].strip()
    return " ".join(part for part in (rules.prefix, first_line, rules.suffix) if part)


def render(caption: str, rules: CaptionRules, draw: random.Random) -> str:
    """The caption of one sample at one step.

    In sd-scripts' order: prefix and suffix, dropout of the whole caption (which ends it), first line, split
    at the separator, shuffle and dropout of the tags after the first `keep_tokens`, joined by a comma and a
    blank. Where neither shuffles nor drops tags the text stays as it was written.
    """
    text = plain(caption, rules)
    if draw.random() < rules.dropout:
        return ""
    if not rules.shuffle and rules.tag_dropout == 0:
        return text
    tags = [tag.strip() for tag in text.split(rules.separator)]
    kept, loose = tags[: rules.keep_tokens], tags[rules.keep_tokens :]
    if rules.shuffle:
        draw.shuffle(loose)
    loose = [tag for tag in loose if draw.random() >= rules.tag_dropout]
    return ", ".join(kept + loose)
