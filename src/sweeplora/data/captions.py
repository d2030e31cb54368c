"""Captions as a training sees them, by the rules of sd-scripts and in its order."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

_WILDCARD = re.compile(r"\{([^}]+)\}")
# Stand for {{ and }} while wildcards are resolved; no caption holds control characters.
_OPEN, _CLOSE = "\x02", "\x03"

Choose = Callable[[list[str]], str]


class Moment(NamedTuple):
    """When a sample is used: its epoch, counted from 1, and the optimizer steps before it, out of `num_steps`."""

    epoch: int
    step: int
    num_steps: int


@dataclass(frozen=True)
class CaptionRules:
    """What is done to every caption; rates are shares from 0 to 1.

    `dropout_every_epochs` 0 means never; `warmup_steps` below 1 is a share of all steps, and 0 means no warm-up.
    `replacements` are pairs of a text and its replacements, one of which is drawn at random. `keep_tokens_separator` is
    None where captions are not split into tags.
    """

    prefix: str
    suffix: str
    separator: str
    secondary_separator: str | None
    shuffle: bool
    keep_tokens: int
    keep_tokens_separator: str | None
    dropout: float
    dropout_every_epochs: int
    tag_dropout: float
    wildcards: bool
    warmup_min: int
    warmup_steps: float
    replacements: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def splits(self) -> bool:
        """Whether captions are split into tags."""
        return self.shuffle or self.tag_dropout > 0 or self.warmup_steps > 0


def is_fixed(rules: CaptionRules) -> bool:
    """Whether a caption is the same text at every step, so that its encoding can be cached."""
    drops = rules.dropout > 0 or rules.dropout_every_epochs > 0
    chooses = rules.wildcards or any(len(texts) > 1 for _, texts in rules.replacements)
    return not (rules.splits or drops or chooses)


def plain(caption: str, rules: CaptionRules) -> str:
    """The caption without random parts, for validation: prefix, first line, suffix, replacements.

    Wildcards and replacements take their first alternative. Rules about dropping and shuffling have no influence, so
    that trials that differ in them are scored on the same captions.
    """
    text = _dressed(lines(caption)[0], rules)
    if rules.wildcards:
        text = _resolve(text, _first)
    if rules.keep_tokens_separator and rules.keep_tokens_separator in text:
        text = ", ".join(tag for tags in _split(text, rules) for tag in tags)
    return _replaced(text, rules, _first)


def render(caption: str, rules: CaptionRules, draw: random.Random, moment: Moment) -> str:
    """The caption of one sample at one step.

    In the order of sd-scripts: prefix and suffix; dropout of the whole caption, which skips the rest; wildcards; split
    at the separator; warm-up, shuffle and dropout of the flexible tags; join by a comma and a blank; secondary
    separator; replacements. Without a split the text stays as it is written. With wildcards one line of the caption is
    drawn. As in sd-scripts its first line has the prefix and its last line the suffix.
    """
    text = _dressed("\n".join(lines(caption)) if rules.wildcards else lines(caption)[0], rules)
    if draw.random() < rules.dropout or _is_empty_epoch(rules, moment):
        return ""
    if rules.wildcards:
        text = _resolve(draw.choice(text.split("\n")), draw.choice)
    if rules.splits:
        kept, flexible, last = _split(text, rules)
        flexible = flexible[: _warm(len(flexible), rules, moment)]
        if rules.shuffle:
            draw.shuffle(flexible)
        flexible = [tag for tag in flexible if draw.random() >= rules.tag_dropout]
        text = ", ".join(kept + flexible + last)
    return _replaced(text, rules, draw.choice)


def _first(texts: list[str]) -> str:
    return texts[0]


def lines(caption: str) -> list[str]:
    """The lines of a caption that hold anything, without the blanks around them; one empty line where none does."""
    return [line.strip() for line in caption.split("\n") if line.strip()] or [""]


def _dressed(text: str, rules: CaptionRules) -> str:
    return " ".join(part for part in (rules.prefix, text, rules.suffix) if part)


def _is_empty_epoch(rules: CaptionRules, moment: Moment) -> bool:
    return rules.dropout_every_epochs > 0 and moment.epoch % rules.dropout_every_epochs == 0


def _resolve(text: str, choose: Choose) -> str:
    """One alternative of every `{a|b}`; doubled braces become single ones."""
    hidden = text.replace("{{", _OPEN).replace("}}", _CLOSE)
    chosen = _WILDCARD.sub(lambda match: choose(match[1].split("|")), hidden)
    return chosen.replace(_OPEN, "{").replace(_CLOSE, "}")


def _split(text: str, rules: CaptionRules) -> tuple[list[str], list[str], list[str]]:
    """The tags that stay in front, the flexible ones, and those that stay at the end."""
    if not rules.keep_tokens_separator or rules.keep_tokens_separator not in text:
        tags = [tag.strip() for tag in text.strip().split(rules.separator)]
        return tags[: rules.keep_tokens], tags[rules.keep_tokens :], []
    parts = [*text.split(rules.keep_tokens_separator, 2), ""]
    front, middle, end = ([tag.strip() for tag in part.split(rules.separator) if tag.strip()] for part in parts[:3])
    return front, middle, end


def _warm(count: int, rules: CaptionRules, moment: Moment) -> int:
    """How many of `count` flexible tags are used: warmup_min at first, then linearly more until all of them are."""
    steps = rules.warmup_steps if rules.warmup_steps >= 1 else math.floor(rules.warmup_steps * moment.num_steps)
    if moment.step >= steps:
        return count
    return math.floor(moment.step * ((count - rules.warmup_min) / steps)) + rules.warmup_min


def _replaced(text: str, rules: CaptionRules, choose: Choose) -> str:
    if rules.secondary_separator:
        text = text.replace(rules.secondary_separator, rules.separator)
    for old, texts in rules.replacements:
        new = choose(list(texts)) if len(texts) > 1 else texts[0]
        text = text.replace(old, new) if old else new
    return text
