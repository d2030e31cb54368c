"""What sd-scripts writes into a file about the data that it trained on, in `ss_*` keys that hold JSON."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sweeplora.report.summaries import shown_time

_MOST_TAGS = 12


def said_folders(said: Mapping[str, str]) -> list[str]:
    """`folder (image count x repeats)` for each data folder."""
    try:
        folders = json.loads(said.get("ss_dataset_dirs") or "{}")
        return [f"{name} ({one['img_count']} images x {one['n_repeats']})" for name, one in folders.items()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return []


def said_resolution(said: Mapping[str, str]) -> str | None:
    """The resolution; of a training with a configuration of data sets, that of each."""
    return said.get("ss_resolution") or said.get("modelspec.resolution") or _of_each(said, "resolution")


def said_batch_size(said: Mapping[str, str]) -> str | None:
    """The batch size, over all processes where that is said; for several data sets that of each."""
    for key in ("ss_total_batch_size", "ss_batch_size_per_device"):
        if said.get(key):
            return said[key]
    return _of_each(said, "batch_size_per_device")


def said_tags(said: Mapping[str, str]) -> str | None:
    """The most frequent tags of the captions with their counts, among them the word that calls the subject."""
    try:
        folders = json.loads(said.get("ss_tag_frequency") or "{}")
        counts = Counter[str]()
        for tags in folders.values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
    shown = [f"{tag} ({count})" for tag, count in counts.most_common(_MOST_TAGS) if tag]
    more = len(counts) - _MOST_TAGS
    return ", ".join([*shown, *([f"{more} more"] if more > 0 else [])]) or None


def said_start(said: Mapping[str, str]) -> str | None:
    """When the training began: sd-scripts and we write seconds since 1970, others a date."""
    text = said.get("ss_training_started_at")
    try:
        seconds = float(text or "nan")
        return shown_time(seconds) if math.isfinite(seconds) else text
    except (ValueError, OverflowError, OSError):
        return text


def _of_each(said: Mapping[str, str], key: str) -> str | None:
    """A value of each data set, once where they agree."""
    try:
        found = [_shown(one[key]) for one in json.loads(said.get("ss_datasets") or "[]")]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return ", ".join(dict.fromkeys(found)) or None


def _shown(value: Any) -> str:
    """A value as it is in the key of its own: a pair as `(1024, 1024)`."""
    return f"({', '.join(map(str, value))})" if isinstance(value, list) else str(value)
