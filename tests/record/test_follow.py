"""The mirror's process: it follows, survives a server that is down, is killed and goes on, ends when told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sweeplora
from sweeplora.record import follow
from tests.record.mlflow_store import Contents
from tests.record.servers import Server, closed_port
from tests.record.study_folder import StudyFolder, tracking_of

TRIAL = "rank/000-000000000002"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts mirrors on a study in a folder of their own, and ends what is left of them."""
    started: list[subprocess.Popen[bytes]] = []
    desk = tmp_path / "desk"
    desk.mkdir()
    (desk / "notes.md").write_text("what I tried\n")

    def begin(study: StudyFolder, *more: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "sweeplora.record", "--runs", str(study.runs)]
        argv += ["--study", study.path.name, *more]
        found_here = {**os.environ, "PYTHONPATH": str(Path(sweeplora.__file__).parents[1])}
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=desk, env=found_here)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Close its input and wait: exit code and what it said."""
    output, _ = process.communicate(timeout=300)
    return process.returncode, output.decode()


def wait_until(what: Callable[[], bool]) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + 300
    while not what():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def sent(study: StudyFolder, number_of_steps: int) -> bool:
    """Whether the mirror noted that so many steps of the first trial are in the store."""
    memory = study.path / "000-000000000002" / "mirror.json"
    return memory.exists() and f'"loss": {number_of_steps - 1}' in memory.read_text()


def steps_in(uri: str) -> list[int]:
    """Steps of the first trial's loss in a store."""
    contents = Contents(uri)
    return [step for step, _ in contents.history(contents.runs()[TRIAL], "loss")]


def test_it_follows_until_its_input_is_closed_and_is_complete_then(
    runs: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 4)
    process = start(study)
    wait_until(lambda: sent(study, 5))
    trial.steps(5, 20)
    trial.sample(20)
    trial.complete(1.0)
    study.write("finished")
    assert end(process) == (0, "")
    contents = Contents(tracking_of(runs).uri)
    found = contents.runs()
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert steps_in(tracking_of(runs).uri) == list(range(21))
    (backup,) = (runs / "workspaces").iterdir()
    assert f"workspace/{backup.name}" in contents.files(found["rank"])
    assert any(name.endswith("/packages.txt") for name in contents.files(found[TRIAL]))
    assert found[TRIAL].data.tags["mlflow.source.name"] == "sweeplora +sweep=rank"


def test_killed_in_the_middle_it_goes_on_where_it_was(
    runs: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.steps(0, 3000)
    process = start(study)
    # The run is known to the store, its points are on their way.
    wait_until((trial.run.path / "mirror.json").exists)
    process.kill()
    process.wait()
    trial.steps(3001, 3010)
    trial.complete(1.0)
    study.write("finished")
    assert end(start(study))[0] == 0
    assert steps_in(tracking_of(runs).uri) == list(range(3011))


@pytest.mark.slow
def test_a_server_stopped_and_started_loses_and_doubles_nothing(
    tmp_path: Path, runs: Path, start: Callable[..., subprocess.Popen[bytes]]
) -> None:
    far_away = runs.rename(tmp_path / "server")
    server = Server(far_away)
    study = StudyFolder(tmp_path / "runs", uri=server.uri)
    trial = study.trial(0, 2)
    trial.steps(0, 4)
    try:
        server.start()
        process = start(study)
        wait_until(lambda: sent(study, 5))
        server.stop()
        trial.steps(5, 9)
        time.sleep(follow.TICK + 0.5)  # one look at least meets a closed door
        assert process.poll() is None
        server.start()
        wait_until(lambda: sent(study, 10))
        trial.sample(10)
        trial.complete(1.0)
        study.write("finished")
        assert end(process)[0] == 0
        assert steps_in(server.uri) == list(range(10))
        contents = Contents(server.uri)
        files = contents.files(contents.runs()[TRIAL])
        assert sum(name.startswith("images/") for name in files) == 2
        assert "weights/toy-000001.safetensors" in files
    finally:
        server.stop()


@pytest.fixture
def mirror_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Mirrors a study in this process, whose input is closed already; returns the exit code."""
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        monkeypatch.chdir(tmp_path)
        yield lambda study, *more: follow.main(["--runs", str(study.runs), "--study", study.path.name, *more])


def test_a_server_that_stays_away_is_told_in_one_line_and_by_the_exit_code(
    tmp_path: Path, mirror_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    study = StudyFolder(tmp_path / "runs", uri=f"http://127.0.0.1:{closed_port()}")
    study.trial(0, 2).complete(1.0)
    study.write("finished")
    code, said = mirror_here(study, "--patience", "0.1"), capsys.readouterr().out
    assert code == follow.BEHIND
    assert said.count("\n") == 1
    assert "python -m sweeplora sync" in said


def test_a_record_that_is_off_starts_nothing(
    runs: Path, mirror_here: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    trial.run.config.write_text(trial.run.config.read_text().replace("enabled: true", "enabled: false"))
    assert (mirror_here(study), capsys.readouterr().out) == (0, "")
    assert not (study.path / "provenance").exists()
