"""How long trainings on a model took on this machine, and the memory they took: read from the finished runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import yaml

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.places import every_run
from sweeplora.rundir.plain_record import read_plain_trial
from sweeplora.rundir.yaml_text import read_yaml

_MOST_RUNS = 20
_MEMORY = "memory_mib"
_ALIKE = (
    ("data", "resolution"),
    ("train", "mixed_precision"),
    ("train", "gradient_checkpointing"),
    ("launcher", "processes_per_trial"),
    ("model", "base_precision"),
)
"""What the seconds of a step depend on most, beside the number of images in it."""


class Pace(NamedTuple):
    """What `runs` finished runs took: seconds for an image of a batch (median), and bytes at their peak (the most).

    The seconds include start, validation and previews. `peak` None: it was not written down.
    """

    runs: int
    seconds: float
    peak: int | None


def pace_of(runs: Path, model: str, config: Mapping[str, Any]) -> Pace | None:
    """The pace of the latest finished runs on the model of this digest with settings like these; None without any."""
    seconds: list[float] = []
    peaks: list[float] = []
    for folder, record in _finished(runs, model):
        other = _config(folder)
        if other is None or any(_at(other, path) != _at(config, path) for path in _ALIKE):
            continue
        images = record["steps"] * _at(other, ("train", "batch_size")) * _at(other, ("train", "accumulation"))
        seconds.append(sum(one["ended"] - one["started"] for one in record["attempts"] if one.get("ended")) / images)
        peaks += list(read_metrics(RunDir(folder).metrics).get(_MEMORY, {}).values())[-1:]
    if not seconds:
        return None
    return Pace(len(seconds), median(seconds), round(max(peaks) * 2**20) if peaks else None)


def _finished(runs: Path, model: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The latest runs that trained on this model to their end, with their records."""
    found = []
    for folder in every_run(runs):
        record = read_plain_trial(folder / "trial.json") or {}
        contents = record.get("contents") or {}
        trained = record.get("verdict") == "complete" and record.get("steps") and record.get("attempts")
        if trained and not record.get("found") and contents.get("model.path") == model:
            found.append((record["attempts"][-1].get("ended") or 0.0, folder, record))
    for _, folder, record in sorted(found, key=lambda one: (one[0], one[1]))[-_MOST_RUNS:]:
        yield folder, record


def _config(folder: Path) -> dict[str, Any] | None:
    try:
        content = read_yaml((folder / "config.yaml").read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return content if isinstance(content, dict) else None


def _at(config: Mapping[str, Any], path: tuple[str, str]) -> Any:
    """A value of a configuration; None where an older run has no such key."""
    group = config.get(path[0])
    return group.get(path[1]) if isinstance(group, Mapping) else None
