"""What all runs on one base share: step 0 is computed once, and found again with the same bytes."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sweeplora.data.entries import EntryStore
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.scores import read_scores
from tests.run.trainings import Trainings

SHORT = (
    *("train.epochs=null", "train.steps=1", "sample.at_first=true", "sample.at_last=false"),
    "network.preset=attn-only",
)


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, pictures: Path, trainings: Trainings
) -> Trainings:
    """Trainings with an empty cache of their own."""
    return Trainings(tmp_path_factory.mktemp("shared"), tiny_model, pictures, trainings.launcher)


def entries(runs: Path) -> dict[Path, int]:
    """Every kept result of the base, and when it was written."""
    return {file: file.stat().st_mtime_ns for file in (runs / "cache" / "base").rglob("*.safetensors")}


def bytes_of(run: RunDir) -> dict[str, bytes]:
    """All that a run left that does not tell the time."""
    files = [*sorted(run.samples.iterdir()), run.scores, run.weights / "test.safetensors"]
    found = {file.name: file.read_bytes() for file in files}
    series = read_metrics(run.metrics)
    measured = ("images_per_second", "memory_mib")
    found["metrics"] = json.dumps({key: series[key] for key in sorted(series) if key not in measured}).encode()
    return found


def test_step_0_is_computed_once_for_all_runs_and_again_where_it_is_damaged(elsewhere: Trainings) -> None:
    cold = elsewhere.train("cold", *SHORT)
    kept = entries(elsewhere.runs)
    assert len(kept) == 4  # held-out, probe, and two previews of different sizes
    warm = elsewhere.train("warm", *SHORT)
    assert bytes_of(warm) == bytes_of(cold)
    other = elsewhere.train("other", *SHORT, "network=dora", "seed=3", "optimizer.lr=0.01", "train.batch_size=2")
    assert entries(elsewhere.runs) == kept
    for name in ("00000000_00.png", "00000000_01.png"):
        assert bytes_of(other)[name] == bytes_of(cold)[name]
    for number, file in enumerate(kept):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if number % 2 else content[:-1] + b"\xff")
    mended = elsewhere.train("mended", *SHORT)
    assert bytes_of(mended) == bytes_of(cold)
    assert entries(elsewhere.runs).keys() == kept.keys()
    assert all(time > kept[file] for file, time in entries(elsewhere.runs).items())
    assert not [file for file in (elsewhere.runs / "cache").rglob(".*.tmp")]


def test_a_kept_score_is_used(elsewhere: Trainings) -> None:
    """Changed on purpose, it shows in the run: so it was not computed."""
    for file in entries(elsewhere.runs):
        tensors = load_file(file)
        if "losses" in tensors:
            file.unlink()
            changed = [(file.stem, {"losses": tensors["losses"] + 1})]
            EntryStore(file.parents[1]).fill([file.stem], partial(_same, changed), lambda *_: None)
    run = elsewhere.train("changed", *SHORT, "sample.at_first=false")
    for file in entries(elsewhere.runs):
        file.unlink()
    found = read_scores(run)
    assert found is not None and found.base == found.by_step[0]
    assert min(found.by_step[0]) > 1 > max(found.by_step[1]) - 1
    series = read_metrics(run.metrics)
    assert series["val/relative"][1] == series["val/loss"][1] / series["val/loss"][0]


def _same(entries: list[Any], _: Any) -> list[Any]:
    return entries


@pytest.mark.slow
def test_two_runs_that_start_together_on_an_empty_cache_both_end_right(
    tmp_path: Path, tiny_model: Path, pictures: Path, elsewhere: Trainings
) -> None:
    both = Trainings(tmp_path, tiny_model, pictures)
    runs = [both.folder(name, *SHORT) for name in ("one", "two")]
    for process, run in [(both.start(run), run) for run in runs]:
        both.wait(process, run)
    assert bytes_of(runs[0]) == bytes_of(runs[1]) == bytes_of(elsewhere.train("alone", *SHORT))
    assert len(entries(tmp_path)) == 4
    both.close()


@pytest.mark.slow
@pytest.mark.parametrize("change", ["train.mixed_precision=bf16", "data.validation_seed=3", "sample.steps=3"])
def test_what_decides_a_result_is_part_of_its_key(elsewhere: Trainings, change: str) -> None:
    before = entries(elsewhere.runs)
    elsewhere.train("changed-key", *SHORT, change)
    assert entries(elsewhere.runs).keys() > before.keys()


@pytest.mark.slow
def test_two_processes_draw_and_score_the_base_as_one_does(elsewhere: Trainings, tmp_path: Path) -> None:
    one = elsewhere.train("one-process", *SHORT)
    for file in entries(elsewhere.runs):
        file.unlink()
    two = elsewhere.train_together("two-processes", 2, *SHORT)
    for name in ("00000000_00.png", "00000000_01.png"):
        assert bytes_of(two)[name] == bytes_of(one)[name]
    mine, its = read_scores(one), read_scores(two)
    assert mine is not None and its is not None and mine.base == its.base
