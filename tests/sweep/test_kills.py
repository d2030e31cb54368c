"""A study whose processes are killed at random moments ends as one that is left alone."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from tests.launchers import name_them
from tests.record.conftest import empty_database as empty_database  # noqa: PLC0414  # a fixture
from tests.sweep.kills import Command, outcome, recorded

STEPS = 4
MANY = int(os.environ.get("SWEEPLORA_KILLS", "200"))
"""Kills of the slow test: fewer of them, or another thousand."""


@pytest.fixture(scope="module")
def words(tiny_model: Path, pictures: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight trials of few layers, with previews, validation and deleted weights in the middle."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    prompts.write_text("shape 3, ellipse --w 32 --h 32 --d 5 --s 1\n")
    return [
        "search=grid", "network.dim=choice(1,2)", "network.alpha=choice(1,2)", "optimizer.lr=choice(1e-3,2e-3)",
        "reuse=false", f"model.path={tiny_model}", "data=folder", f"data.dir={few}", f"data.val_dir={pictures / 'val'}",
        "network.preset=attn-only", "train.epochs=null", f"train.steps={STEPS}", "train.batch_size=2",
        "train.validation_images=1", "train.validation_timesteps=2",
        "train.save_every_steps=1", "train.save_last_steps=2", "train.validate_every_steps=2", "train.probe_images=1",
        "train.checkpoint_every_steps=1", f"sample.prompts={prompts}", "sample.every_epochs=0", "sample.every_steps=2",
    ]  # fmt: skip


def command_in(place: Path, words: list[str], empty_database: Path) -> Command:
    """The study's command in a place of its own, where MLflow's tables are made already."""
    command = Command(place, words)
    (place / "runs").mkdir()
    shutil.copy(empty_database, place / "runs" / "mlflow.db")
    return command


@pytest.fixture(scope="module")
def undisturbed(words: list[str], empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study that is left alone, one trial after another in forks of this process."""
    place = command_in(tmp_path_factory.mktemp("undisturbed") / "place", words, empty_database).folder
    name_them(place)
    with contextlib.chdir(place):
        assert main([f"runs={place}/runs", "sweep.name=s", *words, "launcher=forked"]) == 0
    return place


@pytest.mark.parametrize("kills", [(12, 1, 3), pytest.param((MANY, 2, 5), marks=pytest.mark.slow)], ids=str)
def test_killed_at_random_moments_a_study_ends_as_an_undisturbed_one(
    kills: tuple[int, int, int], words: list[str], empty_database: Path, undisturbed: Path, tmp_path: Path
) -> None:
    slots = ["launcher.slots=2", "launcher.threads=1", "launcher.device=cpu"]
    command = command_in(tmp_path / "place", [*words, *slots], empty_database)
    studies = command.kill(*kills)
    wanted, in_mlflow = outcome(undisturbed, "s"), recorded(undisturbed, "s")
    assert len(wanted) == 9 and len(in_mlflow) == 9  # eight trials and the study itself
    for study in studies:
        assert outcome(command.folder, study) == wanted
        assert recorded(command.folder, study) == in_mlflow
    lost = [loss.steps() for loss in command.losses]
    print(f"steps trained again, for every training of a kill: {lost}")
    assert lost and max(lost) <= 1  # the interval of the states
    command.leaves_nothing()
