"""One run per identity, whatever answer of the tracking server is lost when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeplora.record.mirror import Mirror
from sweeplora.record.store.client import TROUBLE, Store
from sweeplora.record.store.subject import study_subject, trial_subject
from sweeplora.report.leaderboard import make_leaderboard
from sweeplora.rundir.record import StudyRecord, TrialRecord
from tests.record.lossy_proxy import losing
from tests.record.mlflow_store import Contents
from tests.record.servers import Server
from tests.record.study_folder import StudyFolder, tracking_of


@pytest.fixture
def server(tmp_path: Path, runs: Path) -> Iterator[Server]:
    folder = runs.rename(tmp_path / "server")
    server = Server(folder)
    server.start()
    yield server
    server.stop()


def recorded_in_spite_of(runs: Path, server: Server, share: float, trials: int) -> int:
    """Record a growing study through a proxy that loses answers; how many were lost."""
    with losing(server.uri, share, seed=3) as proxy:
        study = StudyFolder(runs, uri=proxy.uri)
        mirror = Mirror(study.path, tracking_of(runs, proxy.uri))

        def until_sent() -> None:
            for _ in range(50):
                try:
                    return mirror.turn()
                except TROUBLE:
                    continue
            raise AssertionError("it was never sent")

        for number in range(trials):
            trial = study.trial(number, number + 2)
            trial.steps(0, 9)
            until_sent()
            trial.steps(10, 20)
            trial.complete(1.0)
        study.write("finished")
        until_sent()
        return len(proxy.lost)


def assert_each_once(server: Server, trials: int) -> None:
    contents = Contents(server.uri)
    found = contents.runs()  # two runs of one folder are an error
    assert len(found) == trials + 1
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    for folder, run in found.items():
        if folder != "rank":
            assert [step for step, _ in contents.history(run, "loss")] == list(range(21))
            assert run.data.tags["mlflow.parentRunId"] == found["rank"].info.run_id


def test_lost_answers_double_nothing(tmp_path: Path, server: Server) -> None:
    assert recorded_in_spite_of(tmp_path / "runs", server, share=0.25, trials=2) > 10
    assert_each_once(server, 2)


@pytest.mark.slow
def test_a_hundred_lost_answers_double_nothing(tmp_path: Path, server: Server) -> None:
    assert recorded_in_spite_of(tmp_path / "runs", server, share=0.3, trials=12) > 100
    assert_each_once(server, 12)


def test_a_creation_that_arrived_late_leaves_one_run(runs: Path) -> None:
    store = Store(tracking_of(runs).uri, "sweeplora", runs / "artifacts")
    subject = trial_subject("s/000-a", {}, TrialRecord("running", "s", 0), "running", 5.0)
    first, second = store.create(subject, "s", None), store.create(subject, "s", None)
    store.tag(second, {"x": "1"})
    store.describe(first, subject)
    known = store.known("s")
    assert set(known) == {subject.identity} and not known[subject.identity].deleted
    assert {run.info.run_id for run in Contents(tracking_of(runs).uri).runs().values()} == {
        known[subject.identity].run_id
    }
    assert store.known("s") == known
    assert study_subject(StudyRecord("s", "a", 5.0), make_leaderboard("s", ("a",), [])).identity != subject.identity
