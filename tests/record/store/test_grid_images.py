"""Names of the step grid, compared with those MLflow itself gives."""

from __future__ import annotations

import re
from pathlib import Path

from mlflow.tracking import MlflowClient
from PIL import Image

from sweeplora.record.store.grid_images import Pictures, grid_names, pictures_of, thumbnail
from tests.record.study_folder import StudyFolder
from tests.report.studies import BASE, a_preview, a_study, a_trial


def pattern_of(name: str) -> str:
    """A name with time and random id taken out."""
    return re.sub(r"timestamp\+\d+\+[0-9a-f-]{36}", "timestamp+T+U", name)


def test_names_are_like_those_of_log_image(runs: Path) -> None:
    sample = StudyFolder(runs).trial(0, 2).sample(150, prompt="a red apple, fruit")
    client = MlflowClient(f"sqlite:///{runs}/mlflow.db")
    run = client.create_run(client.create_experiment("images", artifact_location=(runs / "a").as_uri()))
    client.log_image(run.info.run_id, Image.open(sample), key="00 a red apple fruit", step=150)
    theirs = {pattern_of(entry.path) for entry in client.list_artifacts(run.info.run_id, "images")}
    names = grid_names(sample, "study/trial|1", 1000)
    assert names is not None
    assert {pattern_of(names.picture), pattern_of(names.thumbnail)} == theirs
    assert "mlflow.loggedImages" in client.get_run(run.info.run_id).data.tags


def test_names_are_the_same_every_time_and_differ_between_runs(tmp_path: Path) -> None:
    sample = StudyFolder(tmp_path).trial(0, 2).sample(150)
    assert grid_names(sample, "a", 1000) == grid_names(sample, "a", 1000)
    assert grid_names(sample, "a", 1000) != grid_names(sample, "b", 1000)


def test_a_prompt_in_any_script_gives_a_name_that_mlflow_takes(tmp_path: Path) -> None:
    sample = StudyFolder(tmp_path).trial(0, 2).sample(1, prompt="наклейка 🦊 (red:1.2), " + "long " * 80)
    names = grid_names(sample, "a", 1000)
    assert names is not None
    assert re.fullmatch(r"images/[a-zA-Z0-9_\-. ]+\+step\+1\+timestamp\+1001\+[0-9a-f-]{36}\.png", names.picture)
    assert len(Path(names.thumbnail).name) < 200


def test_a_picture_of_another_name_is_none_of_the_grids(tmp_path: Path) -> None:
    assert grid_names(tmp_path / "contact-sheet.png", "a", 1000) is None


def test_a_thumbnail_keeps_the_aspect_ratio(tmp_path: Path) -> None:
    sample = StudyFolder(tmp_path).trial(0, 2).sample(1)
    (tmp_path / "t.webp").write_bytes(thumbnail(sample))
    with Image.open(tmp_path / "t.webp") as picture:
        assert picture.size == (171, 256)


def test_the_grid_opens_on_the_step_that_most_trials_ended_with(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    assert pictures_of(study) == Pictures()
    for number, last in enumerate((0, 0, 0, 20, 20, 30)):  # three that diverged early, and one that is still at it
        run = a_trial(study, number, {"network.dim": number}, 0.1)
        for step in {0, last}:
            a_preview(run, step, BASE)
    assert pictures_of(study) == Pictures(("00 a red apple",), 20)
