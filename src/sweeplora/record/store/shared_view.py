"""MLflow's own list of runs, opened on a sweep: sorted by its objective, with what was searched as columns.

MLflow keeps such a view as a tag of the experiment, and opens it by the tag's key in an address.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from sweeplora.record.store.artifacts import Piece
from sweeplora.record.store.subject import OBJECTIVE, SWEPT, Subject
from sweeplora.report.summaries import shown_size

TAG = "mlflow.sharedViewState."
FILE = "sweeplora.file"
"""The tag of a run with the size of its last weights."""

_MOST_COLUMNS = 12
_OTHERS = re.compile(r"[^A-Za-z0-9_-]+")


def key_of(study: str) -> str:
    """The key of a study's view: its name where that can stand in an address, else with a digest of it."""
    plain = _OTHERS.sub("-", study)
    return plain if plain == study else f"{plain}-{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def view_of(subject: Subject, root: str) -> str:
    """The view of a sweep's runs as MLflow's pages read it; `root` is the sweep's folder below `runs`.

    Objectives, what was searched, the state, the duration and the size of the weights are its columns.
    """
    written = subject.params[OBJECTIVE]
    objectives = json.loads(written) if written.startswith("[") else [written]
    swept = json.loads(subject.tags[SWEPT])
    metrics = [*objectives, *(["val/relative"] if "val/loss" in objectives else [])]
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in swept[:_MOST_COLUMNS]),
        "tags.`sweeplora.verdict`",
        "attributes.`Duration`",
        f"tags.`{FILE}`",
    ]
    view: dict[str, Any] = {
        "searchFilter": f"tags.`sweeplora.root` = '{root}'",
        "orderByKey": f"metrics.`{objectives[0]}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {},
    }
    return json.dumps(view)


def with_file_size(subject: Subject, found: Sequence[Piece]) -> Subject:
    """The subject, tagged with the size of the last of its weights among the files of its folder."""
    files = [piece.source for piece in found if piece.key.startswith("weights/") and piece.key.endswith(".safetensors")]
    states = [file.stat() for file in files if file.exists()]
    if not states:
        return subject
    last = max(states, key=lambda state: state.st_mtime_ns)
    return replace(subject, tags={**subject.tags, FILE: shown_size(last.st_size)})


def address_of(base: str, experiment: Mapping[str, Any], studies: Sequence[str]) -> str:
    """The page to open first: the view of the first of these studies that has one, else the list of all runs.

    `experiment` as MLflow's REST interface gives it.
    """
    tags = {tag.get("key") for tag in experiment.get("tags", []) if isinstance(tag, Mapping)}
    runs = f"{base}/#/experiments/{quote(str(experiment['experiment_id']))}/runs?workflowType=machine_learning"
    found = next((key for key in map(key_of, studies) if f"{TAG}{key}" in tags), None)
    return runs if found is None else f"{runs}&viewStateShareKey={found}"
