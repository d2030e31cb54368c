from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from sweeplora.report.leaderboard import lines, read_leaderboard, write_leaderboard
from sweeplora.rundir.files import write_json


def trial(folder: Path, number: int, verdict: str, value: object, params: dict[str, Any]) -> None:
    run = folder / f"{number:03}-abc"
    (run / "weights").mkdir(parents=True)
    attempts = [{"started": 10.0, "ended": 75.0, "message": f"why {number}"}]
    record = {"number": number, "verdict": verdict, "value": value, "params": params, "attempts": attempts}
    write_json(run / "trial.json", record)
    write_json(run / "result.json", {"weights": "weights/x.safetensors"})


def test_the_best_come_first_and_those_without_a_value_last(tmp_path: Path) -> None:
    trial(tmp_path, 0, "complete", 0.5, {"network.dim": 4, "loss.min_snr_gamma": None})
    trial(tmp_path, 1, "pruned", None, {"network.dim": 8})
    trial(tmp_path, 2, "complete", 0.25, {"network.dim": 16, "optimizer.lr": 1e-4})
    trial(tmp_path, 3, "failed", None, {"network.dim": 2})
    board = read_leaderboard(tmp_path, "s", ("val/loss",))
    assert [entry.number for entry in board.entries] == [2, 0, 1, 3]
    assert board.best is not None and board.best.weights == tmp_path / "002-abc/weights/x.safetensors"
    assert board.counts() == {"complete": 2, "pruned": 1, "failed": 1}
    assert board.entries[3].message == "why 3"
    write_leaderboard(tmp_path, board)
    rows = list(csv.DictReader((tmp_path / "leaderboard.csv").open()))
    assert [row["rank"] for row in rows] == ["1", "2", "", ""]
    assert (rows[0]["optimizer.lr"], rows[1]["optimizer.lr"]) == ("0.0001", "")
    assert rows[1]["loss.min_snr_gamma"] == "null"
    assert rows[0]["time"] == "1:05"
    markdown = (tmp_path / "leaderboard.md").read_text().splitlines()
    assert markdown[0] == "# s" and len(markdown) == 8
    assert lines(board)[1].split()[:4] == ["1", "2", "0.25", "16"]


def test_several_objectives_put_undominated_trials_first(tmp_path: Path) -> None:
    for number, value in enumerate(([2.0, 2.0], [1.0, 3.0], [3.0, 1.0], [1.5, 1.5])):
        trial(tmp_path, number, "complete", value, {})
    board = read_leaderboard(tmp_path, "s", ("a", "b"))
    assert [entry.number for entry in board.entries] == [1, 3, 2, 0]
