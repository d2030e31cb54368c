"""What the store holds after the mirror looked, whatever happened before."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
import yaml
from mlflow.entities import ViewType

from sweeplora.errors import UserError
from sweeplora.record.mirror import Mirror
from sweeplora.record.sync import sync
from sweeplora.record.tracking import Tracking
from sweeplora.rundir.files import sealed, write_json
from sweeplora.rundir.folder import SINGLE
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.scores import ScoresWriter
from tests.record.mlflow_store import Contents
from tests.record.servers import closed_port
from tests.record.study_folder import STARTED, StudyFolder, tracking_of


def look(study: StudyFolder, abandoned: bool = False) -> Contents:
    """A new mirror, as a new process would make it, looks once."""
    Mirror(study.path, tracking_of(study.runs)).turn(abandoned)
    return Contents(tracking_of(study.runs).uri)


def finished_study(runs: Path) -> StudyFolder:
    """Two complete trials."""
    study = StudyFolder(runs)
    for number, dim in enumerate((2, 4)):
        trial = study.trial(number, dim)
        trial.steps(0, 20)
        trial.sample(10)
        trial.complete(value=float(dim))
    study.write("finished")
    return study


def forget(study: StudyFolder) -> None:
    """Lose every memory of what was sent."""
    for memory in study.path.rglob("mirror.json"):
        memory.unlink()


def test_a_sweep_is_a_parent_run_with_its_trials_below(runs: Path) -> None:
    found = look(finished_study(runs)).runs()
    assert set(found) == {"rank", "rank/000-000000000002", "rank/001-000000000004"}
    parent = found["rank"].info
    children = [run for folder, run in found.items() if folder != "rank"]
    assert all(run.data.tags["mlflow.parentRunId"] == parent.run_id for run in children)
    assert (parent.run_name, parent.status) == ("rank", "FINISHED")
    assert (parent.start_time, parent.end_time) == (int(STARTED * 1000), int(STARTED * 1000) + 100_000)


def test_a_trial_has_its_parameters_points_files_and_times(runs: Path) -> None:
    contents = look(finished_study(runs))
    run = contents.runs()["rank/001-000000000004"]
    assert run.data.params["network.dim"] == "4"
    assert run.data.params["network.conv_dim"] == "null"
    assert run.data.params["optimizer.betas"] == "[0.9, 0.99]"
    assert contents.history(run, "loss") == [(step, 4 + 1 / (step + 1)) for step in range(21)]
    assert run.info.end_time - run.info.start_time == 9000
    named = {"config.yaml", "overrides.txt", "trial.json", "result.json", "dataset.json", "log.txt"}
    named |= {"scores.jsonl"}
    files = contents.files(run)
    assert named | {"weights/toy-000001.safetensors"} <= files
    assert sum(name.startswith("images/00 a red apple fruit+step+10+timestamp+") for name in files) == 2
    assert run.data.tags["mlflow.loggedImages"] == "True"


def test_the_sweep_carries_the_best_value_so_far_and_a_leaderboard(runs: Path) -> None:
    contents = look(finished_study(runs))
    parent = contents.runs()["rank"]
    assert contents.history(parent, "best/val/loss") == [(1, 2.0), (2, 2.0)]
    assert parent.data.tags["sweeplora.best"] == "000-000000000002"
    best = contents.runs()["rank/000-000000000002"].info
    page = f"#/experiments/{best.experiment_id}/runs/{best.run_id}?workflowType=machine_learning"
    assert parent.data.tags["mlflow.note.content"].startswith(f"Best: [trial 0 · dim 2]({page})\n\n")
    note = parent.data.tags["mlflow.note.content"].replace("&emsp;", "")  # what sets the columns apart
    assert "| 1 | 0 | 2 | 2 | complete |" in note


def test_looking_again_changes_nothing(runs: Path) -> None:
    study = finished_study(runs)
    before = look(study).everything()
    assert look(study).everything() == before


def test_losing_the_memory_doubles_nothing(runs: Path) -> None:
    study = finished_study(runs)
    before = look(study).everything()
    forget(study)
    assert look(study).everything() == before


def test_a_record_made_in_many_looks_equals_one_made_at_once(runs: Path, empty_database: Path, tmp_path: Path) -> None:
    study = StudyFolder(runs)
    growing = Mirror(study.path, tracking_of(runs))
    for number, dim in enumerate((2, 4)):
        trial = study.trial(number, dim)
        growing.turn()
        trial.steps(0, 9)
        growing.turn()
        trial.sample(10)
        trial.steps(10, 20)
        growing.turn()
        trial.complete(value=float(dim))
        growing.turn()
    study.write("finished")
    growing.turn()
    step_by_step = Contents(tracking_of(runs).uri).everything()
    other = tracking_of(runs, f"sqlite:///{shutil.copy(empty_database, tmp_path / 'other.db')}")
    Mirror(study.path, other).turn()
    assert Contents(other.uri).everything() == step_by_step


def test_scores_are_sent_once_at_the_end(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    scores = ScoresWriter(trial.run.scores, ["aa:8x8:0:17:0:epsilon"])
    scores.write(0, [3.0])
    contents = look(study)
    assert "scores.jsonl" not in contents.files(contents.runs()["rank/000-000000000002"])
    trial.complete(value=2.0)
    contents = look(study)
    assert "scores.jsonl" in contents.files(contents.runs()["rank/000-000000000002"])


def test_a_running_trial_is_running_in_the_store(runs: Path) -> None:
    study = StudyFolder(runs)
    study.trial(0, 2).steps(0, 3)
    found = look(study).runs()
    assert {run.info.status for run in found.values()} == {"RUNNING"}


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("pruned", "KILLED"), ("interrupted", "KILLED"), ("failed", "FAILED"), ("diverged", "FAILED")],
)
def test_every_ending_is_told_from_the_others(runs: Path, verdict: str, status: str) -> None:
    study = StudyFolder(runs)
    study.trial(0, 2).verdict(verdict)
    run = look(study).runs()["rank/000-000000000002"]
    assert (run.info.status, run.data.tags["state"]) == (status, verdict)


def test_a_trial_whose_driver_died_does_not_run_for_ever(runs: Path) -> None:
    study = StudyFolder(runs)
    study.trial(0, 2).steps(0, 3)
    found = look(study, abandoned=True).runs()
    assert {run.info.status for run in found.values()} == {"KILLED"}


def test_a_living_driver_is_not_declared_dead(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    with hold(study.path / "driver.lock"), hold(trial.run.lock):
        found = look(study, abandoned=True).runs()
    assert {run.info.status for run in found.values()} == {"RUNNING"}


def test_an_interrupted_trial_that_goes_on_runs_again_in_the_same_run(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 5)
    first = look(study, abandoned=True).runs()["rank/000-000000000002"]
    trial.verdict("running")
    trial.steps(6, 7)
    contents = look(study)
    again = contents.runs()["rank/000-000000000002"]
    assert again.info.run_id == first.info.run_id
    assert again.info.status == "RUNNING"
    assert [step for step, _ in contents.history(again, "loss")] == list(range(8))


def test_steps_done_again_after_a_checkpoint_are_not_doubled(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 9, images_per_second=10.0)
    look(study)
    trial.steps(5, 12, later=60.0, images_per_second=11.0)
    trial.complete(1.0)
    contents = look(study)
    run = contents.runs()["rank/000-000000000002"]
    assert [step for step, _ in contents.history(run, "loss")] == list(range(13))
    assert [step for step, _ in contents.history(run, "images_per_second")] == list(range(13))


def test_the_store_shows_the_last_truth_of_a_step_done_again(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 9, **{"val/loss": 0.5})
    look(study)
    trial.steps(9, 9, later=60.0, **{"val/loss": 0.25})
    trial.complete(0.25)
    run = look(study).runs()["rank/000-000000000002"]
    assert run.data.metrics["val/loss"] == 0.25


def test_a_torn_line_waits_until_it_is_whole(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 3)
    line = json.dumps({"step": 4, "time": STARTED, "values": {"loss": 9.0}}) + "\n"
    with trial.run.metrics.open("a") as stream:
        stream.write(line[:20])
    contents = look(study)
    assert len(contents.history(contents.runs()["rank/000-000000000002"], "loss")) == 4
    with trial.run.metrics.open("a") as stream:
        stream.write(line[20:])
    contents = look(study)
    assert contents.history(contents.runs()["rank/000-000000000002"], "loss")[-1] == (4, 9.0)


def test_the_load_of_the_machine_is_recorded_once(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 9)
    key, load = "system/cpu_utilization_percentage", MetricsWriter(trial.run.system)
    load.write(2, {key: 50.0})
    look(study)
    load.write(7, {key: 75.0})
    for _ in range(2):
        contents = look(study)
        run = contents.runs()["rank/000-000000000002"]
        assert contents.history(run, key) == [(2, 50.0), (7, 75.0)]
        assert [step for step, _ in contents.history(run, "loss")] == list(range(10))
        forget(study)


def test_the_memory_of_an_earlier_version_is_good_enough(runs: Path) -> None:
    study = finished_study(runs)
    look(study)
    there = {run.info.run_id for run in Contents(tracking_of(runs).uri).runs().values()}
    for memory in study.path.rglob("mirror.json"):
        content = json.loads(memory.read_text())
        del content["system_offset"], content["digest"]
        write_json(memory, sealed(content))
    assert Mirror(study.path, tracking_of(runs)).is_complete(there)


def test_a_line_torn_for_good_is_dropped(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 3)
    with trial.run.metrics.open("a") as stream:
        stream.write('{"step": 4, "ti')
    writer = MetricsWriter(trial.run.metrics)
    writer.write(5, {"loss": 1.0})
    writer.close()
    contents = look(study)
    steps = [step for step, _ in contents.history(contents.runs()["rank/000-000000000002"], "loss")]
    assert steps == [0, 1, 2, 3, 5]


def test_a_value_that_is_not_finite_does_not_stop_the_record(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 3)
    trial.steps(4, 4, grad_norm=float("nan"))
    trial.steps(5, 5, grad_norm=float("inf"))
    trial.verdict("diverged")
    contents = look(study)
    assert len(contents.history(contents.runs()["rank/000-000000000002"], "loss")) == 6


def test_more_points_than_one_call_takes_arrive(runs: Path) -> None:
    study = StudyFolder(runs)
    study.trial(0, 2).steps(0, 2500)
    contents = look(study)
    assert len(contents.history(contents.runs()["rank/000-000000000002"], "loss")) == 2501


def test_a_study_made_anew_under_the_same_name_is_another_run(runs: Path) -> None:
    study = StudyFolder(runs)
    study.trial(0, 2).steps(0, 3)
    look(study)
    forget(study)
    study.write("running", started=STARTED + 1000)
    look(study)
    database = sqlite3.connect(runs / "mlflow.db")
    assert database.execute("select count(*) from runs").fetchone() == (4,)
    database.close()


def test_a_run_deleted_in_the_ui_stays_deleted(runs: Path) -> None:
    study = finished_study(runs)
    contents = look(study)
    contents.client.delete_run(contents.runs()["rank/000-000000000002"].info.run_id)
    forget(study)
    assert "rank/000-000000000002" not in look(study).runs()


def test_a_database_lost_under_the_memories_is_filled_again(runs: Path, empty_database: Path) -> None:
    study = finished_study(runs)
    before = look(study).everything()
    shutil.copy(empty_database, runs / "mlflow.db")
    assert look(study).everything() == before


def test_credentials_in_a_config_do_not_reach_the_store(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    address = "https://me:" + "hunter22@host/pictures"
    text = trial.run.config.read_text().replace("dir: pictures", f"dir: {address}")
    trial.run.config.write_text(text)
    trial.complete(1.0)
    contents = look(study)
    run = contents.runs()["rank/000-000000000002"]
    assert run.data.params["data.dir"] == "https://host/pictures"
    assert "hunter22" not in Path(contents.client.download_artifacts(run.info.run_id, "config.yaml")).read_text()


def test_a_single_run_is_recorded_without_a_sweep(runs: Path) -> None:
    study = StudyFolder(runs, "made")
    trial = study.trial(0, 2)
    trial.steps(0, 3)
    trial.complete(1.0)
    single = runs / SINGLE / "cats"
    single.parent.mkdir()
    trial.run.path.rename(single)
    content = json.loads((single / "trial.json").read_text())
    write_json(single / "trial.json", {**content, "study": None, "number": None, "params": {}})
    tracking = tracking_of(runs)
    Mirror(single, tracking).turn()
    run = Contents(tracking.uri).runs()["single/cats"]
    assert (run.info.run_name, run.info.status) == ("cats", "FINISHED")
    assert "mlflow.parentRunId" not in run.data.tags


def test_a_proposal_that_was_refused_is_a_failed_run(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.run.config.unlink()
    trial.verdict("failed")
    assert look(study).runs()["rank/000-000000000002"].info.status == "FAILED"


def test_a_single_run_waits_for_its_first_attempt(runs: Path) -> None:
    single = runs / SINGLE / "cats"
    single.mkdir(parents=True)
    write_json(single / "trial.json", {"study": None, "verdict": "running", "attempts": []})
    Mirror(single, tracking_of(runs)).turn()
    assert Contents(tracking_of(runs).uri).runs() == {}


def test_sync_catches_up_with_every_folder_and_leaves_held_ones_alone(runs: Path) -> None:
    study = finished_study(runs)
    tracking = tracking_of(runs)
    with hold(study.path / "mirror.lock"):
        assert sync(runs, {}) == []
        assert Contents(tracking.uri).runs() == {}
    assert sync(runs, {}) == []
    assert len(Contents(tracking.uri).runs()) == 3


def test_sync_sends_each_folder_where_its_own_config_says(runs: Path) -> None:
    finished_study(runs)
    silent = StudyFolder(runs, "silent")
    silent.write("finished")
    node = {"_target_": "sweeplora.record.tracking.Tracking", **vars(silent.tracking), "enabled": False}
    (silent.path / "config.yaml").write_text(yaml.safe_dump({"tracking": node}))
    assert sync(runs, {}) == []
    assert not any(name.startswith("silent") for name in Contents(tracking_of(runs).uri).runs())


def test_sync_says_what_went_wrong(runs: Path) -> None:
    finished_study(runs)
    (line,) = sync(runs, {"uri": f"http://127.0.0.1:{closed_port()}"})
    assert line.startswith(str(runs / "rank"))


@pytest.mark.parametrize("uri", ["runs/mlflow", "file:///tmp/mlruns"])
def test_an_address_that_mlflow_has_no_store_for_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match=r"tracking\.uri"):
        Tracking(True, uri, "runs/artifacts", "sweeplora", True, 64)


def deleted_runs(contents: Contents) -> set[str]:
    experiment = contents.client.get_experiment_by_name("sweeplora")
    found = contents.client.search_runs([experiment.experiment_id], "", ViewType.DELETED_ONLY)
    return {run.data.tags["sweeplora.folder"] for run in found}


def test_a_sweeps_deleted_run_is_made_anew_for_new_trials_and_said(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = finished_study(runs)
    contents = look(study)
    contents.client.delete_run(contents.runs()["rank"].info.run_id)
    assert "rank" not in look(study).runs()
    assert capsys.readouterr().out == ""
    study.trial(2, 8).steps(0, 3)
    study.write("running")
    found = look(study).runs()
    assert found["rank/002-000000000008"].data.tags["mlflow.parentRunId"] == found["rank"].info.run_id
    assert "note: the run of the sweep rank was deleted in the UI" in capsys.readouterr().out
    assert len(look(study).runs()) == 4


def test_a_folder_is_known_to_be_recorded_without_asking_the_store(runs: Path) -> None:
    study = finished_study(runs)
    there = {run.info.run_id for run in look(study).runs().values()}

    def is_complete(ids: set[str]) -> bool:
        return Mirror(study.path, study.tracking, revive=False).is_complete(ids, abandoned=True)

    assert is_complete(there)
    assert not is_complete(there - {next(iter(there))})  # a store that lost a run is filled again
    assert sync(runs, {}) == []
    next(study.path.glob("001-*/log.txt")).write_text("one line more\n")
    assert not is_complete(there)


def test_sync_leaves_a_deleted_experiment_deleted_and_names_it(runs: Path) -> None:
    study = finished_study(runs)
    contents = look(study)
    experiment = contents.client.get_experiment_by_name("sweeplora")
    contents.client.delete_experiment(experiment.experiment_id)
    (line,) = sync(runs, {})
    assert "the experiment sweeplora was deleted in the UI" in line
    assert contents.client.get_experiment_by_name("sweeplora").lifecycle_stage == "deleted"


def test_a_new_sweep_in_a_deleted_experiment_brings_no_old_runs_back(runs: Path) -> None:
    contents = look(finished_study(runs))
    contents.client.delete_run(contents.runs()["rank/000-000000000002"].info.run_id)
    contents.client.delete_experiment(contents.client.get_experiment_by_name("sweeplora").experiment_id)
    new = StudyFolder(runs, "new")
    new.trial(0, 2).steps(0, 3)
    assert set(look(new).runs()) == {"new", "new/000-000000000002"}
    assert deleted_runs(contents) == {"rank", "rank/000-000000000002", "rank/001-000000000004"}


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.yaml", b"tracking: {"),
        ("config.yaml", b"[]"),
        ("config.yaml", b"tracking: {uri: 3}"),
        ("study.json", b"{}"),
        ("study.json", b'{"study": "bad", "objec'),
    ],
)
def test_sync_goes_on_after_a_bad_folder_and_names_it(runs: Path, file: str, content: bytes) -> None:
    finished_study(runs)
    bad = StudyFolder(runs, "bad")
    (bad.path / file).write_bytes(content)
    (line,) = sync(runs, {})
    assert str(runs / "bad") in line and "\n" not in line
    assert len(Contents(tracking_of(runs).uri).runs()) == 3


def test_a_damaged_trial_is_named_and_the_others_are_recorded(runs: Path) -> None:
    study = finished_study(runs)
    (next(study.path.glob("000-*")) / "trial.json").write_text("{}")
    (line,) = sync(runs, {})
    assert "000-000000000002/trial.json" in line
    assert set(Contents(tracking_of(runs).uri).runs()) == {"rank", "rank/001-000000000004"}
