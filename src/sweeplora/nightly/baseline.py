"""Baselines: committed files that nights are compared with, one for each configuration, model, data and device.

A file is JSON with sorted keys and a line for each seed, so that a change of it reads well in a review. Numbers are
written as Python prints them: nothing is lost, not even the last bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from sweeplora.errors import UserError
from sweeplora.nightly.evidence import Evidence
from sweeplora.nightly.key import Key
from sweeplora.nightly.quality import Seeds
from sweeplora.nightly.surroundings import Surroundings
from sweeplora.rundir.files import is_intact, sealed, write_whole

FORMAT = 1
FEWEST_SEEDS = 10


@dataclass(frozen=True)
class Accepted:
    """Who made a baseline, when, why, from what. `run`: the night's MLflow run; `means`: of each metric, over seeds."""

    when: str
    by: str
    reason: str
    commit: str
    study: str
    run: str = ""
    means: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """One configuration as it was accepted.

    `config`: the resolved configuration by dotted key, without what changes no result. `previous`: the acceptances
    before this one, newest first. `speed`: machine -> what its steps took and its memory, see `nightly.speed.to_json`;
    one of another machine stays when a night of this one is accepted.
    """

    key: Key
    accepted: Accepted
    surroundings: Surroundings
    config: Mapping[str, str]
    evidence: Evidence
    previous: tuple[Accepted, ...] = ()
    speed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seeds(self) -> Seeds:
        """Seed -> metric -> losses."""
        return self.evidence.seeds

    @property
    def file_name(self) -> str:
        """`locon-cpu-1a2b3c4d5e6f.json`."""
        device = "".join(letter if letter.isalnum() else "_" for letter in self.key.device.lower())
        return f"{self.key.configuration}-{device}-{self.key.digest}.json"


def means_of(seeds: Seeds) -> dict[str, float]:
    """Metric -> the mean over the seeds of the mean over the triples."""
    metrics = sorted({metric for values in seeds.values() for metric in values})
    return {
        metric: math.fsum(float(values[metric].mean()) for values in seeds.values() if metric in values)
        / sum(metric in values for values in seeds.values())
        for metric in metrics
    }


def text_of(baseline: Baseline) -> str:
    """The file's content."""
    evidence = baseline.evidence
    content = {
        "format": FORMAT,
        "key": asdict(baseline.key),
        "accepted": asdict(baseline.accepted),
        "previous": [asdict(one) for one in baseline.previous],
        "surroundings": asdict(baseline.surroundings),
        "source": evidence.source,
        "config": dict(baseline.config),
        "triples": evidence.triples,
        "canary": {"again": list(evidence.again), "losses": list(evidence.course)},
        "seeds": {
            str(seed): {metric: losses.tolist() for metric, losses in values.items()}
            for seed, values in evidence.seeds.items()
        },
        "speed": dict(baseline.speed),
    }
    return _written(sealed(content), "") + "\n"


def write_baseline(folder: Path, baseline: Baseline) -> Path:
    """Write a baseline's file; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / baseline.file_name
    write_whole(file, text_of(baseline))
    return file


def read_baselines(folder: Path) -> list[Baseline]:
    """Every baseline in a folder, by file name; none where there is no folder. Raises UserError for a damaged file."""
    return [read_baseline(file) for file in sorted(folder.glob("*.json"))]


def read_baseline(file: Path) -> Baseline:
    """One baseline. Raises UserError if the file is not one: it never counts as missing."""
    try:
        return _read(json.loads(file.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())
        mend = f"is no baseline ({reason[:120]}); restore it from git, or remove it"
        raise UserError("nightly.baseline", file, mend) from None


def find_baseline(baselines: Sequence[Baseline], key: Key) -> tuple[Baseline | None, str]:
    """The baseline with a key, and where there is none, the sentence that says so and which one comes nearest."""
    for one in baselines:
        if one.key == key:
            return one, ""
    same = [one for one in baselines if one.key.configuration == key.configuration]
    if not same:
        return None, f"there is no baseline of {key.configuration}"
    nearest = min(same, key=lambda one: len(one.key.differences(key)))
    differ = " and ".join(nearest.key.differences(key))
    return None, f"the nearest baseline, {nearest.file_name}, is of another {differ}"


def _read(content: Mapping[str, Any]) -> Baseline:
    if not is_intact(content):
        raise ValueError("it was edited; only `python -m sweeplora baseline accept` writes one")
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
    seeds = {
        int(seed): {metric: np.asarray(losses, float) for metric, losses in values.items()}
        for seed, values in content["seeds"].items()
    }
    wrong = [seed for seed, values in seeds.items() if not all(_is_sound(losses) for losses in values.values())]
    if wrong or not seeds:
        raise ValueError(f"a loss of seed {wrong} is not finite" if wrong else "it has no seed")
    evidence = Evidence(
        seeds=seeds,
        triples=content["triples"],
        course=tuple(map(float, content["canary"]["losses"])),
        again=tuple(map(float, content["canary"]["again"])),
        source=str(content["source"]),
    )
    return Baseline(
        key=Key(**content["key"]),
        accepted=_accepted(content["accepted"]),
        surroundings=Surroundings(**content["surroundings"]),
        config=dict(content["config"]),
        evidence=evidence,
        previous=tuple(map(_accepted, content["previous"])),
        speed=dict(content.get("speed", {})),
    )


def _is_sound(losses: np.ndarray[Any, Any]) -> bool:
    return losses.ndim == 1 and losses.size > 0 and bool(np.all(np.isfinite(losses)))


def _accepted(content: Mapping[str, Any]) -> Accepted:
    names = {one.name for one in fields(Accepted)}
    if content.keys() - names:
        raise KeyError(*(content.keys() - names))
    return Accepted(**content)


def _written(value: Any, indent: str) -> str:
    """JSON with a line for every key, and every list of numbers or texts on one line."""
    inner = f"{indent} "
    if isinstance(value, Mapping) and value:
        lines = (f"{inner}{json.dumps(key)}: {_written(value[key], inner)}" for key in sorted(value))
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        return "[\n" + ",\n".join(f"{inner}{_written(one, inner)}" for one in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
