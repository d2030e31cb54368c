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
from sweeplora.record.store.grid_images import Pictures
from sweeplora.record.store.standing import MEAN, ORDER
from sweeplora.record.store.subject import OBJECTIVE, REPEATED, STATE, SWEPT, Subject
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.summaries import shown_size

TAG = "mlflow.sharedViewState."
FILE = "file"
"""The tag of a run with the size of its last weights."""

_NO_PICTURES = Pictures()
_MOST_COLUMNS = 12
_MOST_PICTURES = 6
_MOST_RUNS = 100
"""Runs that a chart shows."""

_NO_REPETITIONS = " and tags.`sweeplora.kind` != 'replicate'"
_SWEEP, _PICTURES = "Sweep", "Pictures"
"""Sections of the charts' page."""

_OTHERS = re.compile(r"[^A-Za-z0-9_-]+")


def key_of(study: str) -> str:
    """The key of a study's view: its name where that can stand in an address, else with a digest of it."""
    plain = _OTHERS.sub("-", study)
    return plain if plain == study else f"{plain}-{hashlib.sha256(study.encode()).hexdigest()[:6]}"


def view_of(subject: Subject, root: str, pictures: Pictures = _NO_PICTURES) -> str:
    """The view of a sweep's runs as MLflow's pages read it; `root` is the sweep's folder below `runs`.

    Objectives, what was searched, the state, the duration and the size of the weights are its columns. Where trials
    were trained with further seeds, those runs are left out, the mean over the seeds stands for the objective, and the
    trials stand in the leaderboard's order. The charts begin with the objective of all trials over the steps, then
    what was searched against it as parallel coordinates, then the previews `pictures`, without parameters.
    """
    written = subject.params[OBJECTIVE]
    objectives = json.loads(written) if written.startswith("[") else [written]
    if objectives == [PREFERENCE]:  # it changes with every comparison, so that no run records it
        objectives = ["val/loss"]
    swept = json.loads(subject.tags[SWEPT])
    has_means = REPEATED in subject.tags and len(objectives) == 1
    metrics = [f"{MEAN}{objectives[0]}"] if has_means else objectives
    columns = [
        *(f"metrics.`{name}`" for name in metrics),
        *(f"params.`{key}`" for key in swept[:_MOST_COLUMNS]),
        f"tags.`{STATE}`",
        "attributes.`Duration`",
        f"tags.`{FILE}`",
    ]
    view: dict[str, Any] = {
        "searchFilter": f"tags.`sweeplora.root` = '{root}'{_NO_REPETITIONS if REPEATED in subject.tags else ''}",
        "orderByKey": f"tags.`{ORDER}`" if has_means else f"metrics.`{objectives[0]}`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
        "runsExpanded": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": _sections(bool(pictures.keys)),
        "compareRunCharts": _charts(objectives, swept, pictures),
        "isAccordionReordered": True,
    }
    return json.dumps(view, separators=(",", ":"))


def _sections(has_pictures: bool) -> list[dict[str, Any]]:
    """MLflow's own sections follow these, one for each kind of metric."""
    names = [_SWEEP, *([_PICTURES] if has_pictures else [])]
    return [{"uuid": name, "name": name, "display": True, "isReordered": True, "deleted": False} for name in names]


def _charts(objectives: Sequence[str], swept: Sequence[str], pictures: Pictures) -> list[dict[str, Any]]:
    found = [
        {
            **_chart("LINE", _SWEEP, f"line-{name}", f"{name} of all trials"),
            "metricKey": name,
            "selectedMetricKeys": [name],
            "lineSmoothness": 0,
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "range": {},
            "xAxisKey": "step",
            "selectedXAxisMetricKey": "",
            "yAxisKey": "metric",
            "yAxisExpressions": [],
            "ignoreOutliers": False,
            "useGlobalXaxisKey": True,
            "useGlobalLineSmoothing": True,
        }
        for name in objectives
    ]
    if swept:
        parallel = _chart("PARALLEL", _SWEEP, "parallel", "What was searched")
        searched, measured = list(swept[:_MOST_COLUMNS]), list(objectives)
        found.append({**parallel, "selectedParams": searched, "selectedMetrics": measured, "showAllRuns": True})
    found += [
        {
            **_chart("IMAGE", _PICTURES, f"image-{key}", None),
            "imageKeys": [key],
            "step": pictures.step,
            "showRunParams": False,
        }
        for key in pictures.keys[:_MOST_PICTURES]
    ]
    return found


def _chart(kind: str, section: str, name: str, title: str | None) -> dict[str, Any]:
    """What MLflow keeps of every chart."""
    chart: dict[str, Any] = {"type": kind, "uuid": name, "metricSectionId": section, "deleted": False}
    chart |= {"isGenerated": False, "runsCountToCompare": _MOST_RUNS}
    return chart if title is None else {**chart, "displayName": title}


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
