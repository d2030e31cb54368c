"""A study whose processes are killed at random moments ends as one that is left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.kills import Command, outcome, recorded

STEPS = 6


@pytest.fixture(scope="module")
def words(tiny_model: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Eight trials of some seconds, with previews, validation and deleted weights in the middle."""
    prompts = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    prompts.write_text("shape 3, ellipse --d 5 --s 2\n")
    return [
        "search=grid", "network.dim=choice(1,2)", "network.alpha=choice(1,2)", "optimizer.lr=choice(1e-3,2e-3)",
        "launcher.slots=2", "launcher.threads=1", "launcher.device=cpu", "reuse=false",
        f"model.path={tiny_model}", "data=folder", f"data.dir={pictures / 'train'}", f"data.val_dir={pictures / 'val'}",
        "train.epochs=null", f"train.steps={STEPS}", "train.batch_size=2", "train.validation_timesteps=2",
        "train.save_every_steps=1", "train.save_last_steps=2", "train.validate_every_steps=3", "train.probe_images=1",
        "train.checkpoint_every_steps=1", f"sample.prompts={prompts}", "sample.every_epochs=0", "sample.every_steps=3",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("undisturbed") / "place", words)
    command.finish(command.start("s"))
    command.leaves_nothing()
    yield command


@pytest.mark.parametrize("kills", [(12, 1, 5), pytest.param((200, 2, 5), marks=pytest.mark.slow)], ids=str)
def test_killed_at_random_moments_a_study_ends_as_an_undisturbed_one(
    kills: tuple[int, int, int], words: list[str], undisturbed: Command, tmp_path: Path
) -> None:
    command = Command(tmp_path / "place", words)
    studies = command.kill(*kills)
    wanted, in_mlflow = outcome(undisturbed.folder, "s"), recorded(undisturbed.folder, "s")
    assert len(wanted) == 9 and len(in_mlflow) == 9  # eight trials and the study itself
    for study in studies:
        assert outcome(command.folder, study) == wanted
        assert recorded(command.folder, study) == in_mlflow
    lost = [loss.steps() for loss in command.losses]
    print(f"{len(lost)} trainings were killed; steps trained again: {lost}")
    assert lost and max(lost) <= 1  # the interval of the states
    command.leaves_nothing()
