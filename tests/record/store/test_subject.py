"""Parameters, values and leaderboards as MLflow takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.store.subject import (
    Subject,
    best_so_far,
    closed,
    flatten,
    study_note,
    trial_subject,
    verdict_of,
    with_pictures,
)
from sweeplora.report.leaderboard import Leaderboard, make_leaderboard
from sweeplora.rundir.record import Attempt, Result, TrialRecord, Verdict


def trial(number: int, value: Any, ended: float, verdict: Verdict = "complete") -> tuple[Path, TrialRecord]:
    attempts = [Attempt(ended - 1, ended=ended)]
    params = {"network.dim": number}
    return Path(f"{number:03}-a"), TrialRecord(verdict, "s", number, params=params, attempts=attempts, value=value)


def board(objectives: tuple[str, ...], *trials: tuple[Path, TrialRecord]) -> Leaderboard:
    return make_leaderboard("s", objectives, trials)


def test_a_config_becomes_dotted_parameters() -> None:
    tree = {"network": {"dim": 4, "dropout": None}, "betas": [0.9, 0.99], "flip": False, "name": "x", "space": {}}
    assert dict(flatten(tree)) == {
        "network.dim": "4",
        "network.dropout": "null",
        "betas": "[0.9, 0.99]",
        "flip": "false",
        "name": "x",
        "space": "{}",
    }


def test_names_and_values_that_mlflow_refuses_are_made_to_fit() -> None:
    ((key, value),) = flatten({"optimizer=adamw": "x" * 7000})
    assert key == "optimizer_adamw"
    assert len(value) == 6000


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("http://me:pw@host/x", "http://host/x"),
        ("two https://tok@a.b and postgresql://u:p@c/d", "two https://a.b and postgresql://c/d"),
        ("http://host/a@b", "http://host/a@b"),
        ("sqlite:///runs/mlflow.db", "sqlite:///runs/mlflow.db"),
    ],
)
def test_addresses_lose_their_credentials(text: str, clean: str) -> None:
    assert without_credentials(text) == clean


def test_a_repetition_is_tagged_as_one_and_named_after_its_trial() -> None:
    record = TrialRecord("complete", "s", 4, params={"network.dim": 8}, value=0.3, replicate=2)
    subject = trial_subject("s/004.2-a", {}, record, "complete", 5.0)
    assert (subject.tags["sweeplora.kind"], subject.tags["sweeplora.replicate_of"]) == ("replicate", "004")
    assert subject.name == "dim 8 (4.2)"
    ranked = board(("val/loss",), trial(4, 0.4, 30.0), (Path("004.2-a"), record))
    assert [entry.number for entry in ranked.entries] == [4]
    assert [(p.step, p.value) for p in best_so_far(ranked)] == [(1, 0.4)]
    assert study_note(ranked, ("trial 4 is the best",)).startswith(
        "- trial 4 is the best\n\n| rank&emsp; | trial&emsp; |"
    )


def test_the_best_value_so_far_follows_the_order_of_ending() -> None:
    trials = [trial(0, 0.3, 30.0), trial(1, 0.5, 10.0), trial(2, 0.4, 20.0), trial(3, 0.1, 5.0, "pruned")]
    points = best_so_far(board(("val/loss",), *trials))
    assert [(p.step, p.value, p.time) for p in points] == [(1, 0.5, 10.0), (2, 0.4, 20.0), (3, 0.3, 30.0)]
    assert {p.key for p in points} == {"best/val/loss"}


def test_several_objectives_each_have_their_best() -> None:
    points = best_so_far(board(("val/loss", "seconds"), trial(0, [0.3, 9.0], 1.0), trial(1, [0.4, 5.0], 2.0)))
    assert [(p.key, p.value) for p in points][-2:] == [("best/val/loss", 0.3), ("best/seconds", 5.0)]


def test_a_run_nobody_supervises_any_more_ends_as_its_training_said() -> None:
    assert verdict_of(TrialRecord("running"), None, abandoned=False) == "running"
    assert verdict_of(TrialRecord("running"), None, abandoned=True) == "interrupted"
    assert verdict_of(TrialRecord("running"), Result("diverged"), abandoned=True) == "diverged"
    assert verdict_of(TrialRecord("pruned"), Result("interrupted"), abandoned=True) == "pruned"


def test_a_trial_known_from_before_has_no_attempts_and_still_a_place_in_time() -> None:
    subject = trial_subject("s/000-a", {}, TrialRecord("complete", "s", 0), "complete", 50.0)
    assert (subject.started, subject.ended, subject.status) == (50_000, 50_000, "FINISHED")


def test_an_attempt_that_nobody_saw_end_lasts_until_the_training_last_wrote() -> None:
    open_ = TrialRecord("running", "s", 0, attempts=[Attempt(10.0, ended=20.0), Attempt(30.0)])
    assert trial_subject("s/0", {}, closed(open_, 75.0), "interrupted", 5.0).ended == 75_000
    assert closed(open_, None).attempts[-1].seconds == 0.0
    assert open_.attempts[-1].ended is None


def test_a_sweeps_note_shows_the_verdict_first_and_the_best_of_many_trials() -> None:
    trials = [trial(number, 0.1 + number / 1000, float(number)) for number in range(60)]
    ranked = board(("val/loss",), *trials)
    text = study_note(ranked, ("trial 0 is the best",))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2].startswith("| 1&emsp; | 0&emsp; |") and len(rows) == 2 + 40
    assert text.endswith("20 more are in leaderboard.md, among the artifacts.")
    subject = Subject("s", "s", 0, None, "FINISHED", {}, {"mlflow.note.content": text})
    shown = with_pictures(subject, "r", ["plots/map.png", "sheets/prompt-00.png"]).tags["mlflow.note.content"]
    assert shown.startswith("- trial 0 is the best\n\n![plots/map.png]")
    assert shown.index("sheets/prompt-00.png") < shown.index("| rank") < shown.index("20 more are")
    keys = ["plots/map.png", *(f"sheets/prompt-{number:02}.png" for number in range(9))]
    note = with_pictures(subject, "r", keys).tags["mlflow.note.content"]
    assert note.count("![sheets/prompt-") == 4  # a map takes none of the sheets' places
