"""Which weights are there after so many epochs and steps."""

from __future__ import annotations

from pathlib import Path

from sweeplora.training.retention import Retention, SavedWeights


def touch(path: Path) -> None:
    path.write_text("weights")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_is_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    kept = SavedWeights(tmp_path, "cat", ".safetensors", Retention(0, 0))
    for epoch in (1, 2):
        kept.epoch(epoch, touch)
    kept.step(150, touch)
    kept.last(touch)
    assert names(tmp_path) == [
        "cat-000001.safetensors", "cat-000002.safetensors", "cat-step00000150.safetensors", "cat.safetensors",
    ]  # fmt: skip
    assert kept.newest == tmp_path / "cat.safetensors"


def test_so_many_last_epochs_stay_and_the_end_is_not_one_of_them(tmp_path: Path) -> None:
    kept = SavedWeights(tmp_path, "cat", ".ckpt", Retention(2, 0))
    for epoch in (2, 4, 6, 8):
        kept.epoch(epoch, touch)
    kept.last(touch)
    assert names(tmp_path) == ["cat-000006.ckpt", "cat-000008.ckpt", "cat.ckpt"]


def test_steps_stay_as_long_as_they_lie_within_the_window(tmp_path: Path) -> None:
    kept = SavedWeights(tmp_path, "cat", ".ckpt", Retention(0, 250))
    for step in (100, 200, 300, 400):
        kept.step(step, touch)
    assert names(tmp_path) == ["cat-step00000200.ckpt", "cat-step00000300.ckpt", "cat-step00000400.ckpt"]


def test_only_the_runs_own_files_are_deleted(tmp_path: Path) -> None:
    (tmp_path / "cat-000001.ckpt").write_text("from an earlier run")
    (tmp_path / "cat-step00000010.ckpt").write_text("from an earlier run")
    kept = SavedWeights(tmp_path, "cat", ".ckpt", Retention(1, 1))
    for number in (2, 3):
        kept.epoch(number, touch)
        kept.step(10 * number, touch)
    assert names(tmp_path) == [
        "cat-000001.ckpt", "cat-000003.ckpt", "cat-step00000010.ckpt", "cat-step00000030.ckpt",
    ]  # fmt: skip
