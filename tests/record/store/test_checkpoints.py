"""MLflow's own ways: data sets as inputs, weights as logged models with their metrics, retention, files kept once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from sweeplora.record.mirror import Mirror
from sweeplora.record.store.checkpoints import Checkpoint, checkpoints, model_name, retired
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from tests.record.mlflow_store import Contents
from tests.record.study_folder import StudyFolder, TrialFolder


def epoch(trial: TrialFolder, number: int, loss: float, name: str = "") -> Path:
    """One epoch of ten steps: its metrics, and then its weights."""
    writer = MetricsWriter(trial.run.metrics)
    for step in range(10 * number - 9, 10 * number + 1):
        writer.write(step, {"loss": 1.0 / step, "epoch": number})
    writer.write(10 * number, {"val/loss": loss, "val/best": loss})
    writer.close()
    file = trial.run.weights / (name or f"toy.v1-{number:06}.safetensors")
    file.write_bytes(f"{trial.number} {number}".encode() * 100)
    return file


def listing(trial: TrialFolder) -> None:
    """Two training images, one of them twice an epoch, and one held out."""
    entries = [
        {
            "split": split,
            "path": f"/pics/{name}.png",
            "sha256": name * 64,
            "caption": name,
            "repeats": count,
            "bytes": 9,
        }
        for split, name, count in (("train", "a", 1), ("train", "b", 2), ("validation", "c", 1))
    ]
    (trial.run.path / "dataset.json").write_text(json.dumps({"name": "pics", "files": entries}))


@pytest.fixture
def study(runs: Path) -> StudyFolder:
    """Two complete trials of two epochs; the best file is the first epoch of the second one."""
    study = StudyFolder(runs)
    for number, (dim, losses) in enumerate(((2, (0.5, 0.4)), (4, (0.1, 0.3)))):
        trial = study.trial(number, dim)
        listing(trial)
        for index, loss in enumerate(losses, start=1):
            epoch(trial, index, loss)
        trial.verdict("complete", losses[-1])
    study.write("finished")
    return study


def models(study: StudyFolder, order: str = "val/loss") -> list[tuple[str, float, str]]:
    """(name, value, swept rank) of all logged models, the least first: one search."""
    client = MlflowClient(study.tracking.uri)
    found = client.search_logged_models(
        [client.get_experiment_by_name("sweeplora").experiment_id],
        order_by=[{"field_name": f"metrics.{order}", "ascending": True}],
    )
    values = [{metric.key: metric.value for metric in model.metrics}[order] for model in found]
    return [(model.name, value, model.params["network.dim"]) for model, value in zip(found, values, strict=True)]


def test_the_best_checkpoint_over_all_trials_is_one_search(study: StudyFolder) -> None:
    Mirror(study.path, study.tracking).turn()
    expected = [
        ("dim 4 (1) @10", 0.1, "4"),
        ("dim 4 (1) @20", 0.3, "4"),
        ("dim 2 (0) @20", 0.4, "2"),
        ("dim 2 (0) @10", 0.5, "2"),
    ]
    assert models(study) == expected
    assert [value for _, value, _ in models(study, "loss")] == [0.05, 0.05, 0.1, 0.1]
    contents = Contents(study.tracking.uri)
    run = contents.runs()["rank/001-000000000004"]
    assert sorted(output.step for output in run.outputs.model_outputs) == [10, 20]
    assert contents.history(run, "val/loss") == [(10, 0.1), (20, 0.3)]  # a model's points are the run's, once


def test_losing_the_memory_doubles_no_model_and_no_data_set(study: StudyFolder) -> None:
    Mirror(study.path, study.tracking).turn()
    before = models(study)
    for memory in study.path.rglob("mirror.json"):
        memory.unlink()
    Mirror(study.path, study.tracking).turn()
    assert models(study) == before
    run = Contents(study.tracking.uri).runs()["rank/000-000000000002"]
    assert len(run.inputs.dataset_inputs) == 2 and len(run.outputs.model_outputs) == 2


def test_the_data_set_is_an_input_with_its_counts(study: StudyFolder) -> None:
    Mirror(study.path, study.tracking).turn()
    runs = Contents(study.tracking.uri).runs()
    one, other = (runs[f"rank/{folder}"].inputs.dataset_inputs for folder in ("000-000000000002", "001-000000000004"))
    parts = {part.tags[0].value: part.dataset for part in one}
    assert {*parts} == {"training", "validation"}
    assert parts["training"].name == "pics"
    assert json.loads(parts["training"].profile or "") == {
        "images": 2,
        "appearances_an_epoch": 3,
        "captions": 2,
        "bytes": 18,
    }
    assert {part.dataset.digest for part in one} == {part.dataset.digest for part in other}


def test_what_retention_deleted_is_not_kept_in_the_store(runs: Path) -> None:
    study = StudyFolder(runs)
    trial = study.trial(0, 2)
    config = trial.run.config.read_text()
    trial.run.config.write_text(f"{config}train: {{save_last_epochs: 2, save_last_steps: 0}}\n")
    mirror = Mirror(study.path, study.tracking)
    for number in (1, 2, 3):
        written = epoch(trial, number, 1.0 / number)
        mirror.turn()
        if number == 2:
            by_hand = written
    first = trial.run.weights / "toy.v1-000001.safetensors"
    first.unlink()  # by the training's own retention
    by_hand.unlink()  # by somebody
    epoch(trial, 3, 1.0 / 3, "toy.v1.safetensors")
    trial.verdict("complete", 0.3)
    mirror.turn()
    files = {name for name in Contents(study.tracking.uri).files(_run(study)) if name.startswith("weights/")}
    assert files == {f"weights/toy.v1{mark}.safetensors" for mark in ("-000002", "-000003", "")}
    assert sorted(name for name, _, _ in models(study)) == ["dim 2 (0)", "dim 2 (0) @20", "dim 2 (0) @30"]


def test_a_single_runs_file_keeps_its_name_and_illegal_signs_go() -> None:
    kept = Checkpoint("weights/toy.v1-000002.safetensors", 20, (), is_last=False)
    assert model_name(kept, "") == "toy_v1-000002"
    assert model_name(kept, "text a/b:c (3-1)") == "text a_b_c (3-1) @20"


def _run(study: StudyFolder) -> Run:
    return Contents(study.tracking.uri).runs()["rank/000-000000000002"]


def test_weights_on_the_same_disk_are_not_copied(study: StudyFolder) -> None:
    Mirror(study.path, study.tracking).turn()
    for file in study.path.glob("*/weights/*"):
        assert file.stat().st_nlink == 2
        name = next(Path(study.tracking.artifacts).glob(f"*/artifacts/weights/{file.name}"))
        assert name.stat().st_nlink == 2
    log = next(iter(study.path.glob("*"))) / "log.txt"
    assert not log.exists() or log.stat().st_nlink == 1  # a redacted text is a file of its own


def test_a_file_waits_for_the_metrics_of_its_step(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "")
    writer = MetricsWriter(run.metrics)
    keys = ["weights/a-000001.safetensors", "weights/a-step00000004.safetensors", "weights/a.safetensors"]
    writer.write(3, {"loss": 1.0, "epoch": 1})
    assert checkpoints(keys[:1], run.metrics, ended=False) == []
    writer.write(3, {"val/loss": 0.5})
    assert [one.step for one in checkpoints(keys[:1], run.metrics, ended=False)] == [3]
    writer.write(4, {"loss": 1.0, "epoch": 2})
    found = checkpoints(keys, run.metrics, ended=True)
    assert {one.key: one.step for one in found} == {keys[0]: 3, keys[1]: 4, keys[2]: 4}
    assert {point.key for point in found[0].points} == {"loss", "val/loss"}


def test_a_signature_of_digits_at_the_end_of_a_name_is_no_epoch(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "")
    writer = MetricsWriter(run.metrics)
    for step in (1, 2, 3):
        writer.write(step, {"val/loss": 0.5, "epoch": step})
    stem = "toy-lr0.003963-916747"
    keys = [f"weights/{stem}{end}.safetensors" for end in ("", "-000001", "-step00000002")]
    found = {one.key: (one.step, one.is_last) for one in checkpoints(keys, run.metrics, True, stem)}
    assert found == {keys[0]: (3, True), keys[1]: (1, False), keys[2]: (2, False)}
    epochs = [keys[0], *(f"weights/{stem}-{number:06}.safetensors" for number in (1, 2))]
    assert retired(epochs, [], {"train.save_last_epochs": "1"}, stem) == [epochs[1]]


def test_only_what_retention_deletes_is_retired() -> None:
    known = [f"weights/a-{number:06}.safetensors" for number in (1, 2, 3)] + ["weights/a-step00000010.ckpt", "log.txt"]
    there = ["weights/a-000003.safetensors", "weights/a-step00000100.ckpt"]
    assert retired(known, there, {}) == []
    assert retired(known, there, {"train.save_last_epochs": "2"}) == ["weights/a-000001.safetensors"]
    assert retired(known, there, {"train.save_last_steps": "50"}) == ["weights/a-step00000010.ckpt"]
    assert retired(known, known, {"train.save_last_epochs": "1"}) == []
