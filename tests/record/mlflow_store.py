"""What an MLflow store holds, told by MLflow itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sweeplora.content import sha256

_PAGE = re.compile(r"#/experiments/\d+/runs/\w+")


class Contents:
    """Everything in the experiment of a store."""

    def __init__(self, uri: str) -> None:
        self.client = MlflowClient(uri)

    def runs(self) -> dict[str, Run]:
        """Runs by `sweeplora.folder`; two of one folder are an error."""
        experiment = self.client.get_experiment_by_name("sweeplora")
        found = self.client.search_runs([experiment.experiment_id]) if experiment else []
        by_folder = {run.data.tags["sweeplora.folder"]: run for run in found}
        assert len(by_folder) == len(found), "a folder was recorded twice"
        return by_folder

    def history(self, run: Run, key: str) -> list[tuple[int, float]]:
        """(step, value) of every point of a metric, by step."""
        return sorted((m.step, m.value) for m in self.client.get_metric_history(run.info.run_id, key))

    def files(self, run: Run) -> set[str]:
        """Names of all artifacts."""
        found, left = set(), [""]
        while left:
            for entry in self.client.list_artifacts(run.info.run_id, left.pop() or None):
                left.append(entry.path) if entry.is_dir else found.add(entry.path)
        return found

    def sha256(self, run: Run, file: str) -> str:
        """Hex sha256 of an artifact's content."""
        return sha256(Path(self.client.download_artifacts(run.info.run_id, file)))

    def everything(self) -> dict[str, Any]:
        """All that two equal stores have in common: no ids, no places."""
        kept = {}
        for folder, run in self.runs().items():
            tags = {k: v for k, v in run.data.tags.items() if k.startswith(("sweeplora.", "mlflow.note"))}
            tags.pop("sweeplora.workspace.run", None)
            tags = {key: _PAGE.sub("#run", text) for key, text in tags.items()}
            points = {key: self.history(run, key) for key in run.data.metrics}
            times = (run.info.status, run.info.start_time, run.info.end_time, run.info.run_name)
            kept[folder] = (times, dict(run.data.params), tags, points, self.files(run))
        return kept
