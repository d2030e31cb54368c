"""The view of a sweep in MLflow's own pages: what it sorts by, which columns it has, where it opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.record.mirror import Mirror
from sweeplora.record.store.grid_images import Pictures
from sweeplora.record.store.shared_view import TAG, address_of, key_of, view_of
from sweeplora.record.store.subject import study_subject
from sweeplora.report.leaderboard import make_leaderboard
from sweeplora.rundir.record import StudyRecord, TrialRecord
from tests.record.mlflow_store import Contents
from tests.record.study_folder import StudyFolder, tracking_of


def view(objective: Any, *params: dict[str, Any]) -> dict[str, Any]:
    study = StudyRecord("s", objective, 1.0)
    trials = [(Path(f"{n:03}-a"), TrialRecord("complete", "s", n, params=of)) for n, of in enumerate(params)]
    told: dict[str, Any] = json.loads(view_of(study_subject(study, make_leaderboard("s", ("a",), trials)), "s"))
    return told


def test_a_view_sorts_by_the_objective_and_has_what_was_searched_as_columns() -> None:
    found = view("val/loss", {"network.dim": 4}, {"network.dim": 8, "optimizer": "lion"})
    assert (found["orderByKey"], found["orderByAsc"]) == ("metrics.`val/loss`", True)
    assert found["searchFilter"] == "tags.`sweeplora.root` = 's'"
    assert found["selectedColumns"] == [
        "metrics.`val/loss`",
        "params.`network.dim`",
        "params.`optimizer`",
        "tags.`state`",
        "attributes.`Duration`",
        "tags.`file`",
    ]
    assert view(["probe/loss", "seconds"])["selectedColumns"][:2] == ["metrics.`probe/loss`", "metrics.`seconds`"]


def test_charts_begin_with_the_objective_what_was_searched_and_bare_pictures() -> None:
    study = StudyRecord("s", "val/loss", 1.0)
    trials = [(Path(f"{n:03}-a"), TrialRecord("complete", "s", n, params={"network.dim": n})) for n in range(2)]
    subject = study_subject(study, make_leaderboard("s", ("a",), trials))
    found = json.loads(view_of(subject, "s", Pictures(("00 a red apple", "01 a boat"), 16)))
    line, parallel, *images = found["compareRunCharts"]
    assert (line["type"], line["metricKey"]) == ("LINE", "val/loss")
    assert (parallel["selectedParams"], parallel["selectedMetrics"]) == (["network.dim"], ["val/loss"])
    assert [(image["imageKeys"], image["step"], image["showRunParams"]) for image in images] == [
        (["00 a red apple"], 16, False),
        (["01 a boat"], 16, False),
    ]
    sections = {section["uuid"]: section["name"] for section in found["compareRunSections"]}
    assert list(sections.values()) == ["Sweep", "Pictures"]
    assert {chart["metricSectionId"] for chart in found["compareRunCharts"]} == set(sections)
    assert found["runsHiddenMode"] == "SHOW_ALL"  # and not the first ten alone


def test_a_search_by_eye_is_sorted_by_what_its_runs_record() -> None:
    assert view("preference", {"network.dim": 4})["orderByKey"] == "metrics.`val/loss`"


@pytest.mark.parametrize("study", ["rank_alpha", "a b", "käse", "x&y=1#"])
def test_keys_can_stand_in_an_address_and_differ(study: str) -> None:
    assert key_of(study).replace("-", "").replace("_", "").isalnum() and key_of(study).isascii()
    assert key_of(study) != key_of(f"{study}/") and (key_of(study) == study) == (study == "rank_alpha")


def test_the_address_is_the_view_of_the_first_study_that_has_one() -> None:
    experiment = {"experiment_id": "7", "tags": [{"key": f"{TAG}old"}, {"key": "other"}]}
    page = "http://h/#/experiments/7/runs?workflowType=machine_learning"
    assert address_of("http://h", experiment, ["new", "old"]) == f"{page}&viewStateShareKey=old"
    assert address_of("http://h", {"experiment_id": "7"}, ["new"]) == page


def test_the_store_has_the_view_and_its_columns_are_filled(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 4)
    with trial.run.config.open("a") as stream:
        stream.write("sweep: {objective: val/loss}\n")  # as every trial's own configuration has it
    trial.steps(0, 20)
    trial.sample(20)
    trial.complete(0.25)
    for name in ("plots/map.png", "sheets/prompt-00.png", "sheets/trial-000.png"):
        (study.path / name).parent.mkdir(exist_ok=True)
        (study.path / name).write_bytes(b"a picture")
    record = json.loads(trial.run.trial.read_text())
    record["params"] = {"network.dim": 4, "optimizer": "lion"}
    trial.run.trial.write_text(json.dumps({key: value for key, value in record.items() if key != "digest"}))
    study.write("finished")
    Mirror(study.path, tracking_of(runs)).turn()
    contents = Contents(tracking_of(runs).uri)
    experiment = contents.client.get_experiment_by_name("sweeplora")
    assert experiment is not None
    shared = json.loads(experiment.tags[f"{TAG}rank"])
    assert "params.`optimizer`" in shared["selectedColumns"]
    run = contents.runs()[f"rank/000-{4:012x}"]
    assert (run.data.params["optimizer"], run.data.params["network.dim"]) == ("lion", "4")
    assert run.data.tags["file"] == "700 B"
    assert run.info.run_name == "dim 4 · optimizer lion (0)"
    named = contents.client.search_runs([experiment.experiment_id], shared["searchFilter"])
    assert len(named) == 2  # the sweep and its trial
    assert shared["compareRunCharts"][-1]["imageKeys"] == ["00 a red apple fruit"]
    sweep = contents.runs()["rank"]
    at = f"(get-artifact?path=%s&run_uuid={sweep.info.run_id})"
    note = sweep.data.tags["mlflow.note.content"]
    assert [line for line in note.splitlines() if line.startswith("![")] == [
        f"![plots/map.png]{at % 'plots%2Fmap.png'}",
        f"![sheets/prompt-00.png]{at % 'sheets%2Fprompt-00.png'}",
    ]
