"""A study that learns from a finished one: what is given, under which numbers, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from sweeplora.sweep.storage import open_storage
from tests.sweep.commands import records
from tests.sweep.inline import study

FIRST = ("sweep.name=a", "search=random", "sweep.trials=4", "network.dim=range(2,6)", "optimizer.lr=0.001")
SECOND = ("sweep.name=b", "sweep.trials=2", "sweep.warm_start=a", "network.dim=range(2,9)")
RATE = "optimizer.lr=tag(log,interval(1e-4,1e-2))"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm")
    assert study(folder, *FIRST)[0] == 0
    return folder


def test_its_trials_are_given_once_and_the_studys_own_come_after_them(finished: Path) -> None:
    for trials in (2, 3):
        words = (SECOND[0], f"sweep.trials={trials}", *SECOND[2:], RATE)
        code, said = study(finished, *words)
        assert code == 0 and "4 trials of a are given to the search" in said
    told = optuna.load_study(study_name="b", storage=open_storage(finished / "runs/optuna.db")).trials
    theirs = records(finished, "a")
    assert [(trial.user_attrs, trial.params["network.dim"], trial.values) for trial in told[:4]] == [
        ({"given": f"a/{record['number']}"}, record["params"]["network.dim"], [record["value"]]) for record in theirs
    ]
    assert {trial.params["optimizer.lr"] for trial in told[:4]} == {0.001}, "fixed there, searched here"
    assert [record["number"] for record in records(finished, "b")] == [4, 5, 6] and len(told) == 7
    board = (finished / "runs/b/leaderboard.csv").read_text()
    assert len([line for line in board.splitlines() if "complete" in line]) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SECOND[1:2], "sweep.warm_start=nothing", SECOND[3]), "there is no study in"),
        ((*SECOND[1:], "sweep.objective=loss"), "that study minimised val/loss, this one loss"),
        ((*SECOND[1:], "train.validation_timesteps=2"), "has train.validation_timesteps=4, here it is 2"),
        ((*SECOND[1:], "data.validation_seed=7"), "has data.validation_seed=0, here it is 7"),
        ((*SECOND[1:3], "network.dim=range(64,70)"), "none of its 4 complete trials lies in this space"),
        ((*SECOND[1:], "search=random"), "RandomSampler learns from no trial"),
    ],
)
def test_what_cannot_be_compared_or_learned_from_is_refused(finished: Path, words: tuple[str, ...], said: str) -> None:
    code, told = study(finished, "sweep.name=c", *words)
    assert code == 2 and told.startswith("sweep.warm_start=") and said in told
    assert not (finished / "runs/c").exists()


def test_a_study_that_goes_on_is_not_learned_from(finished: Path) -> None:
    record = finished / "runs/a/study.json"
    before = record.read_text()
    record.write_text(json.dumps({"study": "a", "objective": "val/loss", "started": 0.0, "state": "interrupted"}))
    try:
        code, said = study(finished, "sweep.name=c", *SECOND[1:])
    finally:
        record.write_text(before)
    assert code == 2 and "has not finished" in said


def test_a_study_that_was_taught_goes_on_without_its_teacher(finished: Path) -> None:
    words = ("sweep.name=d", "sweep.warm_start=a", "network.dim=range(2,6)")
    assert study(finished, *words, "sweep.trials=1")[0] == 0
    (finished / "runs/a").rename(finished / "away")
    try:
        code, said = study(finished, *words, "sweep.trials=2")
        assert study(finished, "sweep.name=e", *words[1:], "sweep.trials=1")[0] == 2, "nobody taught this one"
    finally:
        (finished / "away").rename(finished / "runs/a")
    assert code == 0 and "there is no study in runs/a: the search keeps what it was given when this study began" in said
    assert [record["number"] for record in records(finished, "d")] == [4, 5]


def test_a_study_is_named_by_one_name(finished: Path) -> None:
    for name in ("3", "[a]"):
        code, said = study(finished, "sweep.name=f", *SECOND[1:2], f"sweep.warm_start={name}", SECOND[3])
        assert code == 2 and "give the name of one finished study" in said
