from __future__ import annotations

import csv
import json
import math
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sweeplora.config.compose import compose
from sweeplora.report.declared import Limits, limits_of
from sweeplora.report.edges import edges
from sweeplora.report.leaderboard import read_leaderboard, write_leaderboard
from sweeplora.report.terminal_board import lines
from sweeplora.report.verdict import (
    FrontVerdict,
    NoVerdict,
    StudyVerdict,
    best_by_value,
    judge,
    percent,
    said,
    write_verdict,
)
from sweeplora.rundir.files import write_json
from sweeplora.rundir.record import replicate_folders, trial_folders
from sweeplora.rundir.scores import ScoresWriter
from sweeplora.sweep.search.grammar import parse_space
from sweeplora.sweep.search.space import Choice

SPACE = {"network.dim": "choice(2, 4, 16)", "optimizer.lr": "tag(log, interval(0.0001, 0.01))"}
BASE = np.geomspace(0.05, 0.6, 12)
FloatArray = npt.NDArray[np.float64]


class Study:
    """Run folders as a study leaves them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.random = np.random.default_rng(0)

    def run(
        self, number: int, effect: float | FloatArray, params: dict[str, Any], replicate: int | None = None
    ) -> None:
        """A finished training whose triples are worse than the base's half by `effect`, with a seed's noise."""
        name = f"{number:03}" if replicate is None else f"{number:03}.{replicate}"
        run = self.folder / f"{name}-abc{number}"
        (run / "weights").mkdir(parents=True)
        (run / "weights/x.safetensors").write_bytes(b"0" * (2**20 * params.get("network.dim", 2)))
        noise = np.random.default_rng(replicate or 0).normal(0, 0.02)  # what the seed does to every trial
        losses = BASE / 2 * np.exp(effect + noise + self.random.normal(0, 0.001, len(BASE)))
        scores = ScoresWriter(run / "scores.jsonl", [f"t{i}" for i in range(len(BASE))])
        for step, factor in ((0, 2.0), (5, 0.9), (10, 1.0)):
            scores.write(step, (losses * factor).tolist())
        value = float(losses.mean())
        record = {"number": number, "verdict": "complete", "value": value, "params": params, "replicate": replicate}
        write_json(run / "trial.json", record)
        metrics = {"val/loss": value, "val/relative": value / float(BASE.mean()), "val/best": value * 0.9}
        write_json(run / "result.json", {"status": "finished", "weights": "weights/x.safetensors", "metrics": metrics})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Ranks 4 and 16 are equal, rank 2 is 5 % worse; one more trial was never trained again."""
    made = Study(tmp_path)
    for number, (effect, dim) in enumerate(((0.0, 16), (0.0002, 4), (0.05, 2))):
        for replicate in (None, 1, 2, 3, 4):
            made.run(number, effect, {"network.dim": dim, "optimizer.lr": 0.0098}, replicate)
    made.run(3, 0.3, {"network.dim": 16, "optimizer.lr": 1e-4})
    return made


def test_equal_ranks_are_named_with_the_smaller_file(study: Study) -> None:
    board = read_leaderboard(study.folder, "s", ("val/loss",))
    found = judge(board, SPACE)
    assert found is not None
    assert {found.best, *found.not_separable} == {0, 1}
    assert found.seeds == 4 and found.detectable < 0.01
    assert "cannot be told from trial" in found.lines[0] and "over 4 seeds" in found.lines[0]
    assert found.lines[1].startswith("network.dim 4 and 16 are equal within 0.")
    assert found.lines[1].endswith("take 4 (trial 1): a quarter of the largest file")
    (each,) = [line for line in found.lines if "each at its best trial" in line]
    assert re.search(r": (4|16) first, then (16|4) \(0\.\d+ % worse\), 2 \(\d\.?\d? % worse\)$", each), each
    assert any("widen optimizer.lr above 0.01" in line for line in found.lines)


def test_what_is_further_off_than_would_be_found_is_not_called_equal(tmp_path: Path) -> None:
    study = Study(tmp_path)
    one_image = np.where(np.arange(len(BASE)) == len(BASE) - 1, 0.3, 0.0)  # no test over the triples finds this
    effects: list[tuple[float | FloatArray, int]] = [(0.0, 16), (0.0002, 4), (one_image, 2)]
    for number, (effect, dim) in enumerate(effects):
        for replicate in (None, 1, 2, 3, 4):
            study.run(number, effect, {"network.dim": dim}, replicate)
    found = judge(read_leaderboard(tmp_path, "s", ("val/loss",)), {})
    assert isinstance(found, StudyVerdict) and found.not_separable == (1, 2)
    assert found.lines[1].startswith("network.dim 4 and 16 are equal within 0.") and "take 4" in found.lines[1]
    assert re.fullmatch(r"only more seeds can tell whether trial 2 \(\d.+ % worse so far\) is as good", found.lines[2])


def test_repetitions_are_no_trials_and_their_mean_ranks(study: Study) -> None:
    board = read_leaderboard(study.folder, "s", ("val/loss",))
    assert [entry.number for entry in board.entries][2:] == [2, 3]
    assert (len(trial_folders(study.folder)), len(replicate_folders(study.folder))) == (4, 12)
    write_leaderboard(study.folder, board, ("the verdict",))
    rows = list(csv.DictReader((study.folder / "leaderboard.csv").open()))
    assert [row["seeds"] for row in rows] == ["5", "5", "5", "", ""]
    assert float(rows[0]["mean"]) == pytest.approx(np.mean(board.measured(board.entries[0])), rel=1e-5)
    assert (rows[0]["at step"], rows[2]["file"], rows[-1]["trial"]) == ("5", "2 MiB", "base")
    assert float(rows[-1]["val/loss"]) == pytest.approx(BASE.mean(), rel=1e-5)
    assert (study.folder / "leaderboard.md").read_text().splitlines()[2] == "- the verdict"
    assert lines(board)[-1].split() == ["base", rows[-1]["val/loss"], "1", "base", "model"]


def test_the_best_of_several_is_named_where_the_others_are_worse(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number, effect in enumerate((0.03, 0.0, 0.06)):
        for replicate in (None, 1, 2, 3, 4):
            study.run(number, effect, {"network.dim": 4}, replicate)
    found = judge(read_leaderboard(tmp_path, "s", ("val/loss",)), {})
    assert found is not None and (found.best, found.not_separable) == (1, ())
    assert found.lines[0].startswith("trial 1 is the best over 4 seeds: the next, trial 0, is 3")


def test_one_seed_names_no_winner_among_close_trials(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number, effect in enumerate((0.0, 0.001, 0.2)):
        study.run(number, effect, {"network.dim": 4})
    found = judge(read_leaderboard(tmp_path, "s", ("val/loss",)), {})
    assert isinstance(found, StudyVerdict) and found.seeds == 1
    assert found.lines[0].startswith("one seed: differences below") and "mean nothing" in found.lines[0]
    assert "1 of the other 2 trials" in found.lines[0] and "sweep.confirm.top=3" in found.lines[0]
    assert found.lines[1].startswith("they lie within")


def test_means_over_seeds_are_compared_over_all_of_them(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number, effect in enumerate((0.0, 0.02)):
        for replicate in (None, 1, 2, 3, 4):
            study.run(number, effect, {}, replicate)
        file = tmp_path / f"{number:03}-abc{number}" / "trial.json"
        own = read_leaderboard(tmp_path, "s", ("val/loss",)).entries[number].own[0]
        write_json(file, {"number": number, "verdict": "complete", "value": own * 1.001, "own": own, "params": {}})
    found = judge(read_leaderboard(tmp_path, "s", ("val/loss",)), {})
    assert isinstance(found, StudyVerdict) and found.seeds == 5 and found.not_separable == ()


def test_each_values_best_trial_is_found(study: Study) -> None:
    values = best_by_value(read_leaderboard(study.folder, "s", ("val/loss",)))
    assert {value: entry.number for value, entry in values["network.dim"].items()} == {16: 0, 4: 1, 2: 2}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0.3,), "trial 0 is compared with nothing: no other point is complete"),
        (
            (0.3, 0.3),
            "all complete trials are of one point, which is compared with nothing: no other point is complete",
        ),
        ((0.1, -0.2), "a of trial 1 is -0.2, not above zero: differences are judged as ratios, so nothing is said of "),
        ((0.0, 0.2), "a of trial 0 is 0, not above zero: "),
    ],
)
def test_a_study_that_cannot_be_compared_says_why(tmp_path: Path, values: tuple[float, ...], told: str) -> None:
    for number, value in enumerate(values):
        complete(tmp_path, number, value)
    found = judge(read_leaderboard(tmp_path, "s", ("a",)), {})
    assert isinstance(found, NoVerdict) and len(found.lines) == 1 and found.lines[0].startswith(told)


def test_without_points_to_compare_there_is_no_front(tmp_path: Path) -> None:
    assert judge(read_leaderboard(tmp_path, "s", ("a",)), {}) is None
    complete(tmp_path, 0, (0.1, 2.0))
    assert judge(read_leaderboard(tmp_path, "s", ("a", "b")), {}) is None


def test_the_leaderboard_begins_with_the_verdicts_best(tmp_path: Path) -> None:
    study = Study(tmp_path)
    for number, (lucky, effect) in enumerate(((-0.5, 0.01), (0.0, 0.0), (0.02, 0.3))):
        study.run(number, lucky, {"network.dim": 4 + number})
        for replicate in (1, 2, 3) if number < 2 else ():
            study.run(number, effect, {"network.dim": 4 + number}, replicate)
    board = read_leaderboard(tmp_path, "s", ("val/loss",))
    found = judge(board, {})
    assert isinstance(found, StudyVerdict) and found.best == 1
    assert [entry.number for entry in board.entries] == [1, 0, 2], "the search's own seed chose trial 0"


def test_a_front_over_several_seeds_says_so(tmp_path: Path) -> None:
    for number, value in enumerate(((0.1, 2.0), (0.2, 1.0))):
        complete(tmp_path, number, value)
    found = judge(read_leaderboard(tmp_path, "s", ("a", "b")), {})
    assert found is not None and found.lines[0].endswith("in all of a, b; one seed each: a step may be luck")
    for number, value in enumerate(((0.1, 2.0), (0.2, 1.0))):
        run = tmp_path / f"{number:03}.1-abc"
        run.mkdir()
        write_json(run / "trial.json", {"number": number, "verdict": "complete", "value": value, "replicate": 1})
    found = judge(read_leaderboard(tmp_path, "s", ("a", "b")), {})
    assert found is not None and found.lines[0].endswith(
        "; means of up to 2 seeds, without a test: a small step may be luck"
    )


def complete(folder: Path, number: int, value: Any, dim: int = 4, rate: float = 1e-3) -> None:
    run = folder / f"{number:03}-abc"
    run.mkdir()
    params = {"network.dim": dim, "optimizer.lr": rate}
    write_json(run / "trial.json", {"number": number, "verdict": "complete", "value": value, "params": params})


def test_of_several_objectives_the_front_is_named_and_what_to_widen_for_each_but_the_size(tmp_path: Path) -> None:
    objectives = ("val/loss", "file_mib")
    space = {"network.dim": "choice(2, 4, 8)", "optimizer.lr": "tag(log, interval(1e-4, 1e-2))"}
    for number, (value, dim, rate) in enumerate(
        [((0.12, 2.0), 8, 9.9e-3), ((0.13, 1.0), 4, 1e-3), ((0.15, 0.5), 2, 1e-3), ((0.16, 1.0), 4, 2e-4)]
    ):
        complete(tmp_path, number, value, dim, rate)
    found = judge(read_leaderboard(tmp_path, "s", objectives), space)
    assert isinstance(found, FrontVerdict) and found.front == (2, 1, 0)
    assert found.lines[0].startswith("no other trial beats trials 2 (0.15, 0.5), 1 (0.13, 1), 0 (0.12, 2) in all of")
    assert found.lines[1:] == (
        "for val/loss, the best network.dim, 8, is at the upper edge: widen network.dim above 8",
        "for val/loss, the best optimizer.lr, 0.0099, is at the upper edge: widen optimizer.lr above 0.01",
    )
    write_verdict(tmp_path, found)
    assert said(tmp_path) == found.lines


def test_a_verdict_is_kept_and_one_that_no_longer_holds_removed(study: Study) -> None:
    found = judge(read_leaderboard(study.folder, "s", ("val/loss",)), SPACE)
    write_verdict(study.folder, found)
    assert found is not None and said(study.folder) == found.lines
    write_verdict(study.folder, None)
    assert said(study.folder) == ()


@pytest.mark.parametrize(
    ("space", "best", "told"),
    [
        ({"a.b": "choice(1, 2, 4)"}, {"a.b": 4}, ["widen a.b above 4"]),
        ({"a.b": "choice(1, 2, 4)"}, {"a.b": 1}, ["widen a.b below 1"]),
        ({"a.b": "choice(1, 2, 4)"}, {"a.b": 2}, []),
        ({"a.b": "choice(0.0, 0.1)"}, {"a.b": 0.0}, []),
        ({"a.b": "interval(-1.0, 1.0)"}, {"a.b": -0.98}, ["widen a.b below -1"]),
        ({"a.b": "choice(10000, 20000)"}, {"a.b": 20000}, ["widen a.b above 20000"]),
        ({"a.b": "tag(log, range(1, 17, 1))"}, {"a.b": 16}, ["widen a.b above 16"]),
        ({"a.b": "choice(4)"}, {"a.b": 4}, []),
        ({"a.b": "choice([1,2,3],[2,3,4])"}, {"a.b": "[2,3,4]"}, []),
        ({"a.b": "choice(null, 5.0)"}, {"a.b": 5.0}, []),
        ({"a.b": "choice(true, false)"}, {"a.b": True}, []),
        ({"a.b": "range(1, 10, 2)"}, {"a.b": 8}, ["widen a.b above 8"]),
        ({"+a.b": "interval(0.5, 1.0)"}, {"a.b": 0.99}, ["widen a.b above 1"]),
        ({"a.b": "tag(log, interval(1e-05, 0.001))"}, {"a.b": 1.2e-5}, ["widen a.b below 1e-05"]),
        ({"a.b": "tag(log, interval(1e-05, 0.001))"}, {"a.b": 5e-5}, []),
        ({"a.b": "int(interval(1, 8))"}, {"a.b": 8}, ["widen a.b above 8"]),
        ({"o": "choice(x, y)", "o=x": {"o.lr": "choice(1, 2)"}}, {"o": "x", "o.lr": 2}, ["widen o.lr above 2"]),
        ({"o": "choice(x, y)", "o=x": {"o.lr": "choice(1, 2)"}}, {"o": "y", "o.lr": 2}, []),
        ({"o": "choice(true, false)", "o=true": {"b": "choice(1, 2)"}}, {"o": True, "b": 2}, ["widen b above 2"]),
        ({"o": "choice(true, false)", "o=true": {"b": "choice(1, 2)"}}, {"o": False, "b": 2}, []),
        ({"o": "choice(null, 1.0)", "o=null": {"b": "choice(1, 2)"}}, {"o": None, "b": 2}, ["widen b above 2"]),
        ({"o": "choice(0, 1e-4, 1)", "o=1e-4": {"b": "choice(1, 2)"}}, {"o": 0.0001, "b": 2}, ["widen b above 2"]),
        ({"o": "choice('a b', c)", "o='a b'": {"b": "choice(1, 2)"}}, {"o": "a b", "b": 2}, ["widen b above 2"]),
        ({"o": "choice([4,8], 1)", "o=[4, 8]": {"b": "choice(1, 2)"}}, {"o": "[4,8]", "b": 2}, ["widen b above 2"]),
        ({"o": "x", "o=x": {"b": "choice(1, 2)"}}, {"b": 2}, ["widen b above 2"]),
    ],
)
def test_the_best_at_an_edge_asks_for_a_wider_range(
    space: dict[str, Any], best: dict[str, Any], told: list[str]
) -> None:
    assert [line.rpartition(": ")[2] for line in edges(space, best)] == told


def test_edges_are_told_under_every_value_as_study_json_has_it() -> None:
    written = {"network.o": "choice(true, null, 1e-4, 'a b', [4,8])"}
    for title in ("true", "null", "1e-4", "'a b'", "[4,8]"):
        space = parse_space({**written, f"network.o={title}": {"network.dim": "range(2, 10, 2)"}})
        ((_, opening),) = space.branches
        choice = space.dimensions["network.o"]
        assert isinstance(choice, Choice)
        value = dict(zip(choice.texts, choice.values, strict=True))[opening]
        told = edges(space.described(), {"network.o": value, "network.dim": 8})
        assert [line.rpartition(": ")[2] for line in told] == ["widen network.dim above 8"], title


def test_a_point_that_was_proposed_twice_is_compared_once(study: Study) -> None:
    for again in ("", ".1", ".2", ".3", ".4"):
        folder = study.folder / f"000{again}-abc0"
        copy = study.folder / f"007{again}-abc0"
        shutil.copytree(folder, copy)
        record = json.loads((copy / "trial.json").read_text())
        write_json(copy / "trial.json", {**record, "number": 7})
    found = judge(read_leaderboard(study.folder, "s", ("val/loss",)), SPACE)
    assert found is not None and 7 not in (found.best, *found.not_separable)


def test_keys_that_every_trial_has_another_value_of_are_not_compared_by_value(study: Study) -> None:
    found = judge(read_leaderboard(study.folder, "s", ("val/loss",)), SPACE)
    assert found is not None
    assert [line.partition(",")[0] for line in found.lines if "at its best trial" in line] == ["network.dim"]


def test_no_key_is_to_be_widened_beyond_what_it_takes(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(compose(()).yaml)
    assert limits_of(tmp_path, "train.batch_size").least == 1 and limits_of(tmp_path, "optimizer.lr") == Limits()
    space = {"train.batch_size": "choice(1, 2, 4)", "network.alpha": "choice(1, 2, 4)"}
    lines_ = edges(space, {"train.batch_size": 1, "network.alpha": 1}, partial(limits_of, tmp_path))
    assert [line.rpartition(": ")[2] for line in lines_] == ["widen network.alpha below 1"]
    assert limits_of(tmp_path, "data.caption_dropout") == Limits(0, 1)
    space = {"data.caption_dropout": "interval(0.0, 1.0)", "train.validation_timesteps": "choice(2, 4)"}
    best = {"data.caption_dropout": 1.0, "train.validation_timesteps": 4}
    lines_ = edges(space, best, partial(limits_of, tmp_path))
    assert [line.rpartition(": ")[2] for line in lines_] == ["widen train.validation_timesteps above 4"]


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0123, "1.2 %"), (0.128, "13 %"), (1.3, "130 %"), (7.0, "700 %"), (8.1e6, "8.1e+06 times")]
)
def test_differences_are_written_without_powers_of_ten_below_ten_times(share: float, shown: str) -> None:
    assert percent(math.log1p(share)) == shown
