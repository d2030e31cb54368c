"""What comparisons say about a study: the file, the ranking, the leaderboard and its sentences."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from sweeplora.report.leaderboard import Leaderboard, read_leaderboard, table
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.preferences import preferences_of
from sweeplora.report.summaries import study_summary
from sweeplora.report.terminal_board import lines
from sweeplora.rundir.preferences import PREFERENCES, Judgement, JudgementWriter, Picked, read_judgements
from tests.report.studies import a_preview, a_study, a_trial


def name(number: int) -> str:
    return f"{number:03}-{number:012x}"


def judged(study: Path, *picks: tuple[int, int, str]) -> None:
    """Append comparisons."""
    writer = JudgementWriter(study)
    for left, right, picked in picks:
        writer.add(Judgement(name(left), name(right), cast("Picked", picked)), [0])
    writer.close()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three trials; val/loss prefers the first, a person the last."""
    folder = a_study(tmp_path)
    for number, value in enumerate((0.1, 0.2, 0.3)):
        a_preview(a_trial(folder, number, {"network.dim": 2**number}, value), 20, (9, 9, 9))
    return folder


def board_of(study: Path, objective: str = "val/loss") -> Leaderboard:
    return read_leaderboard(study, study.name, (objective,))


def test_a_torn_line_is_dropped_and_the_next_comparison_is_whole(study: Path) -> None:
    judged(study, (0, 1, "left"))
    with (study / PREFERENCES).open("a") as stream:
        stream.write('{"left": "000-0000000')  # the process was killed here
    assert len(read_judgements(study)) == 1
    judged(study, (1, 2, "tie"))
    assert read_judgements(study) == [Judgement(name(0), name(1), "left"), Judgement(name(1), name(2), "tie")]


def test_undoing_takes_back_the_last_comparison_that_stands(study: Path) -> None:
    judged(study, (0, 1, "left"), (1, 2, "right"))
    writer = JudgementWriter(study)
    for left in (1, 0, 0):
        writer.undo()
        assert len(read_judgements(study)) == left
    judged(study, (0, 2, "left"))
    assert read_judgements(study) == [Judgement(name(0), name(2), "left")]


def test_comparisons_of_trials_that_are_no_longer_there_do_not_count(study: Path) -> None:
    judged(study, (0, 1, "left"), (7, 1, "left"))
    found = board_of(study).preferences
    assert found is not None and len(found.outcomes) == 1 and set(found.of) == {0, 1}


def test_the_leaderboard_says_what_a_person_prefers_beside_the_loss(study: Path) -> None:
    assert "preferred" not in table(board_of(study))[0]
    judged(study, *[(2, 0, "left"), (1, 0, "left"), (1, 2, "right")] * 4)
    board = board_of(study)
    header, rows = table(board)
    assert [row[header.index("trial")] for row in rows[:3]] == ["0", "1", "2"]  # the objective is still the loss
    shares = [int(row[header.index("preferred")].partition(" ")[0]) for row in rows[:3]]
    assert shares[0] < 25 < shares[1] < 75 < shares[2]
    assert sum(shares) == pytest.approx(150, abs=6)
    told = preference_lines(board)
    assert told[0].startswith(
        "you prefer trial 2; val/loss prefers trial 0, which you like less with a probability of "
    )
    assert "100 %" in told[0] or "99 %" in told[0]
    assert told[1].startswith("trial 2 (dim 4) wins ") and told[1].endswith("after 12 comparisons")
    assert told[-1] == "your order and val/loss's agree on 0 % of the pairs of trials"
    assert any("preferred" in line for line in lines(board))


def test_a_person_and_the_loss_may_agree(study: Path) -> None:
    judged(study, *[(0, 1, "left"), (1, 2, "left"), (0, 2, "left")] * 3)
    told = preference_lines(board_of(study))
    assert told[0] == "you prefer trial 0, and so does val/loss"
    assert told[-1] == "your order and val/loss's agree on 100 % of the pairs of trials"


def test_as_an_objective_it_ranks_by_the_comparisons_and_the_rest_has_no_value_yet(study: Path) -> None:
    judged(study, *[(2, 0, "left")] * 5)
    board = board_of(study, "preference")
    assert [entry.number for entry in board.entries] == [2, 0, 1]
    assert [len(entry.values) for entry in board.entries] == [1, 1, 0]
    assert board.entries[0].values[0] < 0.5 < board.entries[1].values[0]
    assert "preference" not in table(board)[0]  # said once, as what is preferred
    assert board.lacking() == [1]
    judged(study, (1, 0, "left"), (1, 2, "right"))
    assert board_of(study, "preference").lacking() == []
    record = (study / "study.json").read_text().replace('"val/loss"', '"preference"').replace('"digest"', '"was"')
    (study / "study.json").write_text(record)
    best = study_summary(study).best
    assert best is not None and best.number == 2 and best.values[0] < 0.5


def test_groups_that_were_never_compared_with_one_another_are_lacking() -> None:
    pairs = [("a", "b"), ("c", "d")] * 4
    found = preferences_of([Judgement(*pair, "left") for pair in pairs], dict(zip("abcd", range(4), strict=True)))
    assert found.lacking() in ([0, 1], [2, 3])
    joined = [Judgement(*pair, "left") for pair in [*pairs, ("a", "c")]]
    assert preferences_of(joined, dict(zip("abcd", range(4), strict=True))).lacking() == []


def test_a_trial_that_is_surely_preferred_is_better_with_a_probability_of_almost_one() -> None:
    found = preferences_of([Judgement("a", "b", "left")] * 12, {"a": 5, "b": 7})
    assert found.better(5, 7) > 0.99 and found.better(7, 5) == pytest.approx(1 - found.better(5, 7))
    assert np.isclose(found.of[5].chance + found.of[7].chance, 1)
