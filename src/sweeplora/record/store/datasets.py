"""A run's data set as MLflow's dataset inputs: one for each part of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.rundir.files import read_json

_DIGITS = 12
_CONTEXTS = {"train": "training", "validation": "validation", "regularisation": "regularisation"}


@dataclass(frozen=True)
class DatasetPart:
    """The images of one split. `digest` covers images and captions; `counts` is shown in MLflow as the profile."""

    name: str
    digest: str
    context: str
    source: str
    counts: Mapping[str, int]


def dataset_parts(listing: Path) -> list[DatasetPart]:
    """The parts of a run's data set from its `dataset.json`; none while there is no such file."""
    content = read_json(listing) or {}
    entries = [entry for entry in content.get("files") or [] if isinstance(entry, dict)]
    splits: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        splits.setdefault(str(entry.get("split")), []).append(entry)
    return [_part(str(content.get("name") or "data"), split, members) for split, members in splits.items()]


def _part(name: str, split: str, members: list[dict[str, Any]]) -> DatasetPart:
    told = [[entry.get("sha256"), entry.get("caption"), entry.get("repeats")] for entry in members]
    folders = sorted({str(Path(str(entry.get("path"))).parent) for entry in members})
    return DatasetPart(
        name=name,
        digest=hashlib.sha256(json.dumps(told).encode()).hexdigest()[:_DIGITS],
        context=_CONTEXTS.get(split, split),
        source=json.dumps({"folders": folders[:20]}),
        counts={
            "images": len(members),
            "appearances_an_epoch": sum(int(entry.get("repeats") or 1) for entry in members),
            "captions": len({entry.get("caption") for entry in members}),
            "bytes": sum(int(entry.get("bytes") or 0) for entry in members),
        },
    )
