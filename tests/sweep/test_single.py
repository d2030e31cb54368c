from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import read_trial, write_trial
from sweeplora.sweep.reuse import is_finished
from tests.record.mlflow_store import Contents
from tests.sweep.commands import PATIENCE_SECONDS, command, living_in, start, until
from tests.sweep.inline import study


def folders(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "runs/single").iterdir())


def test_a_run_trains_once_and_is_found_again(tmp_path: Path) -> None:
    code, output, errors = command(tmp_path, "name=one")
    assert (code, errors) == (0, "")
    assert "weights: runs/single/one/weights/standin.safetensors" in output
    trial = json.loads((tmp_path / "runs/single/one/trial.json").read_text())
    assert (trial["verdict"], trial["study"], len(trial["attempts"])) == ("complete", None, 1)
    code, output = study(tmp_path, "name=one", "file_name=other")
    assert code == 0 and "already there: runs/single/one" in output
    assert folders(tmp_path) == ["one"]


def test_another_experiment_of_the_same_name_takes_the_next_free_folder(tmp_path: Path) -> None:
    study(tmp_path, "name=one")
    study(tmp_path, "name=one", "seed=1")
    study(tmp_path, "name=one", "reuse=false")
    assert folders(tmp_path) == ["one", "one-2", "one-3"]


def test_a_failure_is_tried_again_and_then_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"fail_always": [4]}))
    code, output = study(tmp_path, "name=one", "network.dim=4", "keep_failed=true")
    assert code == 1
    assert "failed: rank 4 does not work" in output and "runs/single/one/log.txt" in output
    assert len(json.loads((tmp_path / "runs/single/one/trial.json").read_text())["attempts"]) == 2


def test_a_failed_run_that_left_nothing_is_removed_and_the_end_of_its_log_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"fail_always": [4]}))
    code, output = study(tmp_path, "name=one", "network.dim=4")
    assert code == 1 and folders(tmp_path) == []
    said = output.splitlines()
    assert "  rank 4, 2 threads" in said or "  rank 4, 1 threads" in said
    assert "it left no weights and no preview: runs/single/one is removed (keep_failed=true keeps it)" in said
    assert said[-1] == "failed: rank 4 does not work"


def test_a_failed_run_that_left_something_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"fail_always": [4]}))
    words = ("name=one", "network.dim=4")
    study(tmp_path, *words, "keep_failed=true")
    (tmp_path / "runs/single/one/samples").mkdir()
    (tmp_path / "runs/single/one/samples/00000000_00.png").write_bytes(b"a picture")
    code, output = study(tmp_path, *words)
    assert code == 1 and folders(tmp_path) == ["one"] and "runs/single/one/log.txt" in output


@pytest.mark.slow
def test_mlflow_keeps_the_run_of_a_removed_folder_marked_as_failed_with_its_log(tmp_path: Path) -> None:
    driver = start(tmp_path, "name=one", "network.dim=4", behaviour={"fail_always": [4]}, tracking="mlflow")
    output, _ = driver.communicate(timeout=PATIENCE_SECONDS)
    assert "runs/single/one is removed; its log is in MLflow" in output and folders(tmp_path) == []
    contents = Contents(f"sqlite:///{tmp_path}/runs/mlflow.db")
    run = contents.runs()["single/one"]
    assert run.info.status == "FAILED" and run.data.tags["state"] == "failed"
    log = Path(contents.client.download_artifacts(run.info.run_id, "log.txt")).read_text()
    assert log.count("rank 4") == 2


def test_an_end_from_outside_is_said_and_the_run_is_tried_again(tmp_path: Path) -> None:
    words = ("name=one", "network.dim=4", "launcher.attempts=1")
    code, output, _ = command(tmp_path, *words, behaviour={"killed": [4]})
    trial = tmp_path / "runs/single/one/trial.json"
    assert code == 0 and "it is tried again: ended from outside by SIGKILL" in output
    assert [one["verdict"] for one in json.loads(trial.read_text())["attempts"]] == ["interrupted", "complete"]


def test_a_continued_run_keeps_its_threads(tmp_path: Path) -> None:
    first = start(tmp_path, "name=one", "launcher.threads=1", behaviour={"steps": 400, "seconds": 0.1})
    until((tmp_path / "runs/single/one/metrics.jsonl").exists)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=PATIENCE_SECONDS)
    assert command(tmp_path, "name=one")[0] == 0
    log = (tmp_path / "runs/single/one/log.txt").read_text()
    assert log.count("1 threads") == 2


def test_an_interrupted_run_goes_on_in_its_folder(tmp_path: Path) -> None:
    first = start(tmp_path, "name=one", behaviour={"steps": 400, "seconds": 0.1})
    metrics = tmp_path / "runs/single/one/metrics.jsonl"
    until(metrics.exists)
    code, said = study(tmp_path, "name=one")
    assert code == 2 and "is running in runs/single/one" in said
    first.send_signal(signal.SIGUSR1)  # asks for the state, and ends neither the command nor the training
    until(lambda: len(read_metrics(metrics).get("loss", ())) > 3)
    first.send_signal(signal.SIGINT)
    output, _ = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 130 and "the same command starts it again" in output
    assert living_in(tmp_path) == []
    assert study(tmp_path, "name=one")[0] == 0
    assert folders(tmp_path) == ["one"]


def test_a_training_that_ended_while_its_command_was_dead_is_not_trained_again(tmp_path: Path) -> None:
    study(tmp_path, "name=one")
    folder = tmp_path / "runs/single/one"
    log, weights = (folder / "log.txt").read_bytes(), folder / "weights/standin.safetensors"
    written = weights.stat().st_mtime_ns
    run = RunDir(folder)
    record = read_trial(run)
    assert record is not None
    record.verdict, record.value = "running", None  # as a command that is killed before it sees the end leaves it
    record.attempts[0].verdict, record.attempts[0].ended = "running", None
    write_trial(run, record)
    code, said = study(tmp_path, "name=one")
    assert code == 0 and "weights: runs/single/one/weights/standin.safetensors" in said
    assert (folder / "log.txt").read_bytes() == log and weights.stat().st_mtime_ns == written
    assert is_finished(run)
    write_trial(run, record)
    weights.write_bytes(b"damaged since")
    assert study(tmp_path, "name=one")[0] == 0
    assert weights.read_bytes() != b"damaged since"
