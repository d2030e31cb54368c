"""One run per identity, every metric once and every file whole, whatever the tracking server does when."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.entities import ViewType

from sweeplora.record.mirror import Mirror
from sweeplora.record.store.client import TROUBLE, Store
from sweeplora.record.store.subject import study_subject, trial_subject
from sweeplora.report.leaderboard import make_leaderboard
from sweeplora.rundir.record import StudyRecord, TrialRecord
from tests.record.chaos_proxy import MIXED, Fault, chaos
from tests.record.mlflow_store import Contents
from tests.record.servers import Server
from tests.record.study_folder import StudyFolder, tracking_of

ARTIFACTS = ("weights/toy-000001.safetensors", "scores.jsonl", "dataset.json")


@pytest.fixture
def server(tmp_path: Path, runs: Path) -> Iterator[Server]:
    folder = runs.rename(tmp_path / "server")
    server = Server(folder)
    server.start()
    yield server
    server.stop()


LOST: Mapping[Fault, float] = {"lost": 0.22}


def recorded_in_spite_of(
    runs: Path,
    server: Server,
    trials: int,
    half_way: Callable[[], None],
    shares: Mapping[Fault, float] = MIXED,
) -> tuple[StudyFolder, Counter[Fault]]:
    """Record a growing study through the proxy; the study, and how often what went wrong."""
    with chaos(server.uri, shares, seed=3) as proxy:
        study = StudyFolder(runs, uri=proxy.uri)
        mirror = Mirror(study.path, tracking_of(runs, proxy.uri))

        def until_sent() -> None:
            for _ in range(200):
                try:
                    return mirror.turn()
                except TROUBLE:
                    continue
            raise AssertionError("it was never sent")

        for number in range(trials):
            if number == trials // 2:
                half_way()
            trial = study.trial(number, number + 2)
            trial.steps(0, 9, epoch=1)
            until_sent()
            trial.steps(10, 20, epoch=1)
            trial.complete(1.0)
        study.write("finished")
        until_sent()
        mirror.look_anew()  # as the mirror's process does when it is told to finish
        until_sent()
        return study, proxy.happened


def assert_each_once_and_whole(study: StudyFolder, server: Server, trials: int) -> None:
    contents = Contents(server.uri)
    found = contents.runs()  # two runs of one folder are an error
    assert len(found) == trials + 1
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    experiment = found["rank"].info.experiment_id
    deleted = contents.client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)
    assert "RUNNING" not in {run.info.status for run in deleted}
    models = contents.client.search_logged_models([experiment])
    assert sorted(str(model.source_run_id) for model in models) == sorted(
        run.info.run_id for name, run in found.items() if name != "rank"
    )
    for name, run in found.items():
        if name == "rank":
            continue
        assert [step for step, _ in contents.history(run, "loss")] == list(range(21))
        assert run.data.tags["mlflow.parentRunId"] == found["rank"].info.run_id
        assert len(contents.client.get_run(run.info.run_id).outputs.model_outputs) == 1
        for artifact in ARTIFACTS:
            kept = Path(contents.client.download_artifacts(run.info.run_id, artifact))
            assert kept.read_bytes() == (study.runs / name / artifact).read_bytes(), artifact


def forget_everything(server: Server) -> None:
    """What a server has that was started with an empty database, without the seconds that takes."""
    with closing(sqlite3.connect(server.folder / "mlflow.db", timeout=60)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            if table not in ("alembic_version", "experiments", "workspaces"):
                connection.execute(f"delete from {table}")
        connection.execute("delete from experiments where name = 'sweeplora'")
        connection.commit()


def test_lost_answers_errors_logins_full_disks_and_a_lost_database_double_and_lose_nothing(
    tmp_path: Path, server: Server
) -> None:
    study, happened = recorded_in_spite_of(tmp_path / "runs", server, 2, lambda: forget_everything(server))
    assert set(happened) == set(MIXED) and happened.total() > 20, happened
    assert_each_once_and_whole(study, server, 2)


@pytest.mark.slow
def test_hundreds_of_faults_and_a_server_restarted_empty_double_and_lose_nothing(
    tmp_path: Path, server: Server, empty_database: Path
) -> None:
    def restart_empty() -> None:
        server.stop()
        shutil.rmtree(server.folder)
        server.folder.mkdir()
        shutil.copy(empty_database, server.folder / "mlflow.db")
        server.start()

    study, happened = recorded_in_spite_of(tmp_path / "runs", server, 12, restart_empty)
    assert set(happened) == set(MIXED) and happened.total() > 200, happened
    assert_each_once_and_whole(study, server, 12)


@pytest.mark.slow
def test_a_hundred_lost_answers_double_nothing(tmp_path: Path, server: Server) -> None:
    study, happened = recorded_in_spite_of(tmp_path / "runs", server, 14, lambda: None, LOST)
    assert happened["lost"] >= 100, happened
    assert_each_once_and_whole(study, server, 14)


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
