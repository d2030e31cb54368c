"""clean lists first, removes what it listed and nothing else, and makes every memory of a study forget it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.record.mirror import Mirror
from sweeplora.rundir.files import sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.lock import hold
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import StudyRecord, TrialRecord, write_study, write_trial
from sweeplora.sweep.forget import remembered
from tests.record.conftest import empty_database as empty_database  # noqa: PLC0414  # a fixture
from tests.record.mlflow_store import Contents
from tests.record.servers import Server
from tests.record.study_folder import StudyFolder
from tests.report.test_find import a_run, weights


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty runs folder in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def files(folder: Path) -> set[str]:
    """Every file below a folder, without Optuna's and MLflow's own."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """The files that a clean would remove."""
    assert main(["clean", "--json", *words]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["removed"] is False
    return sorted(path for removal in told["removals"] for path in removal["paths"])


def settle(folder: Path) -> None:
    """Make everything below a folder two hours old."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - 7200,) * 2)


def failed(path: Path) -> RunDir:
    """A run that failed before it made anything."""
    run = RunDir.create(path, "seed: 0\n")
    write_trial(run, TrialRecord("failed", signature="c" * 12, message="no"))
    run.log.write_text("no\n")
    return run


def test_failed_runs_leftovers_and_orphans_are_listed_and_nothing_else_goes(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = a_run(runs / "single/good", TrialRecord("complete", signature="d" * 12))
    listing = {"path": "a", "sha256": "ab" * 32, "caption": "a cat", "plain": "my cat"}
    (good.path / "dataset.json").write_text(json.dumps({"files": [listing]}))
    failed(runs / "single/bad")
    some = failed(runs / "single/some")
    weights(some.weights / "toy.safetensors", b"kept")
    failed(runs / "study/003-refused")
    write_study(runs / "study", StudyRecord("study", "val/loss", 1.0, "finished"))
    latents = runs / "cache/latents/0123"
    for digest in ("ab" * 20, "cd" * 20):
        (latents / digest[:2]).mkdir(parents=True)
        (latents / digest[:2] / f"{digest}-8x8-8x8.safetensors").write_bytes(b"latent")
    texts, base = runs / "cache/texts/0123/aa", runs / "cache/base/0123/aa"
    for name in ("a cat", "my cat", "a dog"):
        texts.mkdir(parents=True, exist_ok=True)
        (texts / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.safetensors").write_bytes(b"text")
    base.mkdir(parents=True)
    (base / f"{'aa' * 32}.safetensors").write_bytes(b"losses")
    (runs / "refused").mkdir()
    (runs / "refused/driver.lock").touch()
    (good.weights / ".toy.safetensors.4194305.1.tmp").write_bytes(b"half")  # above the kernel's largest process id
    (runs / "optuna.db.broken").write_bytes(b"")
    before = files(runs)
    assert str(good.weights / ".toy.safetensors.4194305.1.tmp") not in listed(capsys)  # it was written just now
    settle(runs)
    wanted = [
        runs / "single/bad",
        good.weights / ".toy.safetensors.4194305.1.tmp",
        runs / "optuna.db.broken",
        latents / "cd" / f"{'cd' * 20}-8x8-8x8.safetensors",
        texts / f"{hashlib.sha256(b'a dog').hexdigest()[:40]}.safetensors",
        runs / "refused",
    ]
    assert listed(capsys) == sorted(map(str, wanted))
    assert main(["clean"]) == 0
    assert "nothing is removed yet: add --yes" in capsys.readouterr().out
    assert files(runs) == before
    assert main(["clean", "--yes"]) == 0
    gone = {name for name in before if any((runs / name).is_relative_to(path) for path in wanted)}
    assert files(runs) == before - gone
    assert main(["clean"]) == 0
    assert "there is nothing to remove" in capsys.readouterr().out
    for name in ("single", "study"):
        shutil.rmtree(runs / name)
    assert main(["clean", "--yes"]) == 0
    assert not files(runs / "cache")  # without any run, nothing needs it


def test_no_backup_goes_while_it_cannot_be_told_which_are_in_use(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = a_run(runs / "single/good", TrialRecord("complete", signature="d" * 12))
    facts = good.path / "provenance" / "1" / "session.json"
    facts.parent.mkdir(parents=True)
    write_json(facts, sealed({"workspace": "workspace-used"}))
    (runs / "workspaces").mkdir()
    for name in ("used", "unused"):
        (runs / "workspaces" / f"workspace-{name}.tar.gz").write_bytes(b"backup")
    assert listed(capsys) == [str(runs / "workspaces/workspace-unused.tar.gz")]
    facts.write_bytes(facts.read_bytes().replace(b"used", b"used".swapcase()))
    assert listed(capsys) == []


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_study_goes_from_its_folder_optuna_and_mlflow_together(
    runs: Path, empty_database: Path, capsys: pytest.CaptureFixture[str], by_hand: bool
) -> None:
    import optuna

    shutil.copy(empty_database, runs / "mlflow.db")
    for name in ("rank", "other"):
        study = StudyFolder(runs, name)
        trial = study.trial(0, 2)
        trial.steps(1, 2, epoch=1)
        trial.complete(1.0)
        study.write("finished")
        Mirror(study.path, study.tracking).turn()
        optuna.create_study(storage=f"sqlite:///{runs}/optuna.db", study_name=name)
    kept = files(runs / "other")
    if by_hand:
        shutil.rmtree(runs / "rank")
        (runs / "rank/000-000000000002").mkdir(parents=True)  # as a try to remove it may leave
    assert main(["clean", "rank"]) == 0
    assert "Optuna's database and in 2 runs of MLflow's record" in capsys.readouterr().out
    assert remembered(runs) == ["other", "rank"]
    assert main(["clean", "rank", "--yes"]) == 0
    assert remembered(runs) == ["other"]
    contents = Contents(f"sqlite:///{runs}/mlflow.db")
    models = contents.client.search_logged_models([contents.runs()["other"].info.experiment_id])
    assert [model.tags["sweeplora.folder"] for model in models] == ["other/000-000000000002"]
    assert set(contents.runs()) == {"other", "other/000-000000000002"}
    assert contents.files(contents.runs()["other/000-000000000002"]) >= {"weights/toy-000001.safetensors"}
    assert len(list((runs / "artifacts").glob("*/artifacts/weights"))) == 1
    assert len(list((runs / "artifacts").iterdir())) == 2  # the other study's and its trial's
    assert not (runs / "rank").exists() and files(runs / "other") == kept
    assert main(["clean", "rank"]) == 2
    assert "there is no such study or run" in capsys.readouterr().err


def test_a_running_study_is_refused(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(runs / "study/000-aaaaaaaaaaaa", TrialRecord("running", "study", 0, "a" * 12))
    write_study(runs / "study", StudyRecord("study", "val/loss", 1.0))
    before = files(runs)
    for lock in (runs / "study/driver.lock", run.lock):
        with hold(lock):
            for words in (["study"], ["study", "--weights", "last"]):
                assert main(["clean", *words, "--yes"]) == 2
                assert "it is running" in capsys.readouterr().err
        lock.unlink()
    assert files(runs) == before


def test_only_whole_studies_and_runs_below_the_folder_are_removed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a_run(runs / "study/000-aaaaaaaaaaaa", TrialRecord("complete", "study", 0, "a" * 12))
    write_study(runs / "study", StudyRecord("study", "val/loss", 1.0, "finished"))
    elsewhere = a_run(tmp_path / "elsewhere/single/mine", TrialRecord("complete", signature="d" * 12))
    for word in (str(elsewhere.path), "study/0", "elsewhere/single/mine"):
        assert main(["clean", word, "--yes"]) == 2
        assert "give a whole study or a single run below" in capsys.readouterr().err
    (runs / "linked").symlink_to(tmp_path / "elsewhere/single/mine", target_is_directory=True)
    assert main(["clean", "linked", "--yes"]) == 0
    assert elsewhere.config.exists() and not (runs / "linked").exists()
    assert (runs / "study/000-aaaaaaaaaaaa/config.yaml").exists()


@pytest.mark.parametrize(
    "word",
    [
        "runs/rank/report.html",
        "runs/rank/sheets",
        "runs/rank/..",
        "rank/002-bbbbbbbbbbbb",
        "rank/0/weights",
        "runs/single/one/weights",
        "runs/single/one/weights/toy.safetensors",
        "down.safetensors",
        "single/on",
        "single/tw",
        "on",
        "aaaaaa",
        "000-aaaaaaaaaaaa",
        "0" * 31 + "1",
        "runs",
        ".",
        "",
        "/rank",
        "single",
        "single/",
        "single/../rank",
        "cache",
    ],
)
def test_a_word_that_is_no_whole_name_or_folder_removes_nothing(
    runs: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    trial = a_run(runs / "rank/000-aaaaaaaaaaaa", TrialRecord("complete", "rank", 0, "a" * 12))
    (trial.path / "mirror.json").write_text(json.dumps({"run_id": "0" * 31 + "1"}))
    RunDir.create(runs / "rank/002-bbbbbbbbbbbb", "seed: 0\n")  # its record is gone
    write_study(runs / "rank", StudyRecord("rank", "val/loss", 1.0, "finished"))
    (runs / "rank/sheets").mkdir()
    (runs / "rank/report.html").write_text("a page")
    one = a_run(runs / "single/one", TrialRecord("complete", signature="d" * 12))
    a_run(runs / "single/two-2", TrialRecord("complete", signature="e" * 12))
    shutil.copy(one.weights / "toy.safetensors", "down.safetensors")
    before = files(runs)
    for words in ([word], ["--weights", "last", word], ["--weights", "best:1", word]):
        assert main(["clean", *words, "--yes"]) == 2, words
        said = capsys.readouterr().err
        assert said.startswith("clean") and len(said.splitlines()) == 1
    assert files(runs) == before


@pytest.mark.parametrize(
    ("word", "folder"),
    [
        ("rank", "rank"),
        ("rank/", "rank"),
        ("runs/rank", "rank"),
        ("./runs/single/../rank", "rank"),
        ("one", "single/one"),
        ("single/one", "single/one"),
        ("runs/single/one/", "single/one"),
        ("runs/both", "both"),
        ("single/both", "single/both"),
    ],
)
def test_a_study_or_run_is_removed_by_its_name_or_folder(
    runs: Path, capsys: pytest.CaptureFixture[str], word: str, folder: str
) -> None:
    for name in ("rank", "both"):
        a_run(runs / name / "000-aaaaaaaaaaaa", TrialRecord("complete", name, 0, "a" * 12))
        write_study(runs / name, StudyRecord(name, "val/loss", 1.0, "finished"))
    for name in ("one", "both"):
        a_run(runs / "single" / name, TrialRecord("complete", signature="d" * 12))
    assert listed(capsys, word, word) == [str(runs / folder)]
    assert main(["clean", "both", "--yes"]) == 2  # a study and a single run
    assert "both and single/both are called so" in capsys.readouterr().err


def test_a_single_run_that_was_removed_by_hand_goes_from_the_record_and_no_other_with_it(
    runs: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(empty_database, runs / "mlflow.db")
    for number, name in enumerate(("one", "one-2")):
        made = StudyFolder(runs, name).trial(number, 2)
        made.complete(1.0)
        record = json.loads(made.run.trial.read_text())
        made.run.trial.write_text(json.dumps({**record, "study": None, "number": None}))
        (runs / "single").mkdir(exist_ok=True)
        shutil.move(made.run.path, runs / "single" / name)
        shutil.rmtree(runs / name)
        Mirror(runs / "single" / name, made.study.tracking).turn()
    shutil.rmtree(runs / "single/one")
    for word in ("one", "single/one", "runs/single/one"):
        assert main(["clean", word]) == 0
        said = capsys.readouterr().out
        assert "single/one is also in 1 runs of MLflow's record" in said and "one-2" not in said
    assert main(["clean", "one", "--yes"]) == 0
    assert set(Contents(f"sqlite:///{runs}/mlflow.db").runs()) == {"single/one-2"}
    assert (runs / "single/one-2/config.yaml").exists()


def test_half_written_files_stay_while_another_machine_may_write_them(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(runs / "study/000-aaaaaaaaaaaa", TrialRecord("running", "study", 0, "a" * 12))
    write_study(runs / "study", StudyRecord("study", "val/loss", 1.0))
    half = [run.weights / ".toy.safetensors.4194305.1.tmp", runs / "cache/latents/.a.safetensors.4194305.1.tmp"]
    for path in half:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    settle(runs)
    assert listed(capsys) == sorted(map(str, half))
    run.lock.touch()
    with hold(run.lock):
        assert listed(capsys) == []
    run.lock.unlink()
    run.metrics.write_text("")  # by a process that is not seen here
    assert listed(capsys) == []
    settle(runs)
    half[0].write_bytes(b"more")
    assert listed(capsys) == []


def test_weights_but_the_last_or_the_best_are_removed(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    losses = {0: (0.5, 0.3, 0.4), 1: (0.6, 0.2, 0.1)}
    (runs / "study").mkdir()
    write_study(runs / "study", StudyRecord("study", "val/loss", 1.0, "finished"))
    for number, series in losses.items():
        record = TrialRecord("complete", "study", number, f"{number}" * 12, value=series[-1])
        run = a_run(runs / f"study/{number:03}-{f'{number}' * 12}", record)
        writer = MetricsWriter(run.metrics)
        for epoch, loss in enumerate(series, start=1):
            writer.write(10 * epoch, {"val/loss": loss})
            name = "toy" if epoch == 3 else f"toy-{epoch:06}"
            weights(run.weights / f"{name}.safetensors", f"{number} {epoch}".encode(), ss_steps=str(10 * epoch))
        (run.weights / "toy-000001.png").write_bytes(b"a preview")
    all_files = {path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file()}
    assert len(listed(capsys, "--weights", "last")) == 6  # two epochs each, and the previews beside them
    assert main(["clean", "--weights", "best:2", "study", "--yes"]) == 0
    left = {path.parent.parent.name[:3] + path.stem for path in runs.rglob("*.safetensors")}
    assert left == {"001toy", "001toy-000002"}
    assert len(all_files) - len(files(runs)) == 4 + 2
    for word in ("best:0", "first", "best:x"):
        assert main(["clean", "--weights", word]) == 2
        assert "give last, or best:K" in capsys.readouterr().err


def epochs(runs: Path, name: str = "rank", uri: str | None = None) -> StudyFolder:
    """A recorded study of one complete trial with a file for each of two epochs and the last one."""
    study = StudyFolder(runs, name, uri)
    trial = study.trial(0, 2)
    for epoch in (1, 2, 3):
        trial.steps(10 * epoch - 9, 10 * epoch, epoch=epoch, **{"val/loss": 1 / epoch})
    trial.complete(1.0)
    for epoch in (1, 2, 3):
        stem = "toy" if epoch == 3 else f"toy-{epoch:06}"
        weights(trial.run.weights / f"{stem}.safetensors", bytes(5000 + epoch), ss_steps=str(10 * epoch))
    write_json(trial.run.result, {"status": "finished", "step": 30, "weights": "weights/toy.safetensors"})
    study.write("finished")
    Mirror(study.path, study.tracking).turn()
    return study


@pytest.mark.parametrize("forgotten", [False, True])
def test_weights_go_from_the_record_too_so_that_their_space_is_freed(
    runs: Path, empty_database: Path, capsys: pytest.CaptureFixture[str], forgotten: bool
) -> None:
    shutil.copy(empty_database, runs / "mlflow.db")
    study = epochs(runs)
    run = RunDir(study.path / "000-000000000002")
    early = [run.weights / f"toy-{epoch:06}.safetensors" for epoch in (1, 2)]
    assert all(path.stat().st_nlink == 2 for path in early)  # the store's are the same files
    size = sum(path.stat().st_size for path in early)
    if forgotten:
        (run.path / "mirror.json").unlink()
    assert main(["clean", "--weights", "last", "rank"]) == 0
    assert "files of recorded runs: 2; they and their logged models go from MLflow too" in capsys.readouterr().out
    assert main(["clean", "--weights", "last", "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["freed"] == size
    contents = Contents(f"sqlite:///{runs}/mlflow.db")

    def kept() -> tuple[set[str], set[str]]:
        recorded = contents.runs()["rank/000-000000000002"]
        models = contents.client.search_logged_models([recorded.info.experiment_id])
        files_ = {name for name in contents.files(recorded) if name.startswith("weights/")}
        return files_, {model.tags["sweeplora.weights"] for model in models}

    assert kept() == ({"weights/toy.safetensors"}, {"weights/toy.safetensors"})
    assert not [path for path in (runs / "artifacts").rglob("toy-*")]
    assert main(["sync"]) == 0  # and it stays so
    assert kept() == ({"weights/toy.safetensors"}, {"weights/toy.safetensors"})


def test_what_is_not_freed_is_said_and_not_counted(
    runs: Path, empty_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(empty_database, runs / "mlflow.db")
    study = epochs(runs)
    before = files(study.path)
    words = ["clean", "--weights", "last", "rank", "--yes"]
    with hold(study.path / "mirror.lock"):
        assert main(words) == 1
    said = capsys.readouterr()
    assert "nothing is removed" in said.out and "its record is being written; try again" in said.err
    assert main([*words, "tracking.uri=http://127.0.0.1:9"]) == 1
    said = capsys.readouterr()
    assert "tracking.enabled=false removes the files of the run folders alone" in said.err
    assert len(said.err.splitlines()) == 1 and files(study.path) == before | {"mirror.lock"}
    assert main([*words, "tracking.enabled=false"]) == 0
    *_, removed, left = capsys.readouterr().out.splitlines()
    assert removed == "0 B removed"
    assert "is not freed: these files have other names (hard links), in MLflow's store" in left
    assert len(list((runs / "artifacts").rglob("toy-*"))) == 2


def test_a_run_that_was_deleted_in_the_ui_leaves_no_model_and_no_file_either(runs: Path, empty_database: Path) -> None:
    shutil.copy(empty_database, runs / "mlflow.db")
    epochs(runs)
    contents = Contents(f"sqlite:///{runs}/mlflow.db")
    trial = contents.runs()["rank/000-000000000002"].info
    contents.client.delete_run(trial.run_id)
    assert len(contents.client.search_logged_models([trial.experiment_id])) == 3
    assert main(["clean", "rank", "--yes"]) == 0
    assert contents.client.search_logged_models([trial.experiment_id]) == []
    assert not list((runs / "artifacts").iterdir())


@pytest.mark.slow
def test_files_and_models_go_from_a_server_too(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    server.start()
    try:
        epochs(runs, uri=server.uri)
        contents = Contents(server.uri)
        experiment = contents.runs()["rank"].info.experiment_id
        for words, left in ((["--weights", "last", "rank"], 1), (["rank"], 0)):
            assert main(["clean", *words, "--yes"]) == 0
            assert len(list((tmp_path / "server").rglob("*.safetensors"))) == left
            assert len(contents.client.search_logged_models([experiment])) == left
    finally:
        server.stop()
