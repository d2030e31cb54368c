from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from sweeplora.record.store.subject import study_subject
from sweeplora.report.axes import choose_axes
from sweeplora.report.leaderboard import front, note, read_leaderboard, write_leaderboard
from sweeplora.report.plots import draw_plots
from sweeplora.report.terminal_board import lines
from sweeplora.rundir.files import write_json
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import StudyRecord, damaged_trials, trial_folders
from tests.report.studies import a_study, a_trial


def trial(folder: Path, number: int, verdict: str, value: object, params: dict[str, Any]) -> None:
    run = folder / f"{number:03}-abc"
    (run / "weights").mkdir(parents=True)
    (run / "weights/x.safetensors").touch()
    attempts = [{"started": 10.0, "ended": 75.0, "message": f"why {number}"}]
    record = {"number": number, "verdict": verdict, "value": value, "params": params, "attempts": attempts}
    write_json(run / "trial.json", record)
    write_json(run / "result.json", {"status": "finished", "weights": "weights/x.safetensors"})


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


def test_every_view_of_several_objectives_ranks_the_same(tmp_path: Path) -> None:
    for number, value in enumerate(([2.0, 2.0], [1.0, 3.0], [1.5, 9.0])):
        trial(tmp_path, number, "complete", value, {})
    board = read_leaderboard(tmp_path, "s", ("a", "b"))
    write_leaderboard(tmp_path, board)
    screen = [line.split()[1] for line in lines(board)[1:]]
    page = [line.split("|")[2].strip().removesuffix("&emsp;") for line in note(board).splitlines()[2:]]
    markdown = [line.split("|")[2].strip() for line in (tmp_path / "leaderboard.md").read_text().splitlines()[4:]]
    csv_rows = [row["trial"] for row in csv.DictReader((tmp_path / "leaderboard.csv").open())]
    tagged = study_subject(StudyRecord("s", ["a", "b"], 1.0), board).tags
    assert screen == page == markdown == csv_rows == ["1", "0", "2"]
    assert tagged["sweeplora.best"] == "001-abc" and tagged["mlflow.note.content"] == note(board)
    assert [entry.number for entry in front(board)] == [1, 0]


def test_plots_come_from_the_run_folders_alone(tmp_path: Path) -> None:
    for number, dim in enumerate((2, 4, 8)):
        trial(tmp_path, number, "complete", 1.0 / dim, {"network.dim": dim})
    trial(tmp_path, 3, "pruned", None, {"network.dim": 16})
    writer = MetricsWriter(tmp_path / "003-abc/metrics.jsonl")
    for step, value in enumerate((0.9, 0.7, float("nan"))):
        writer.write(step, {"val/loss": value})
    drawn = draw_plots(read_leaderboard(tmp_path, "s", ("val/loss",)), tmp_path / "plots")
    assert {path.stem for path in drawn} == {"history", "slices"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)


def test_more_than_two_keys_have_a_map_too_whose_cells_are_those_of_the_contact_sheets(tmp_path: Path) -> None:
    for number, (dim, kind, rate) in enumerate(((2, "a", 1e-3), (2, "b", 2e-3), (8, "a", 3e-3), (8, "b", 4e-3))):
        params = {"network.dim": dim, "optimizer": kind, "optimizer.lr": rate}
        trial(tmp_path, number, "complete", 1.0 / (dim + number), params)
    board = read_leaderboard(tmp_path, "s", ("val/loss",))
    assert "map" not in {path.stem for path in draw_plots(board, tmp_path / "plots")}
    axes = choose_axes(board, "network.dim", "optimizer")
    drawn = {path.stem: path for path in draw_plots(board, tmp_path / "plots", axes)}
    assert drawn["map"].read_bytes().startswith(b"\x89PNG")


def test_the_best_of_each_value_is_drawn_where_most_trials_stopped_early(tmp_path: Path) -> None:
    for number in range(12):
        params = {"network.dim": 2 << number % 4, "optimizer.lr": 0.001 + number / 1000}
        verdict = "complete" if number < 6 else "pruned"
        trial(tmp_path, number, verdict, 1.0 + number if number < 6 else None, params)
    drawn = draw_plots(read_leaderboard(tmp_path, "s", ("val/loss",)), tmp_path / "plots")
    names = {path.stem for path in drawn}
    assert "best_dim" in names and "best_lr" not in names, "every trial has a rate of its own"


def test_a_damaged_record_is_left_out_and_does_not_end_the_leaderboard(tmp_path: Path) -> None:
    trial(tmp_path, 0, "complete", 0.5, {})
    for number, content in enumerate(
        (b"{}", b"[1]", b'{"verdict": "compl', b"\xff\xfe", b'{"verdict": "complete", "value": "x"}'), 1
    ):
        trial(tmp_path, number, "complete", 0.5, {})
        (tmp_path / f"{number:03}-abc/trial.json").write_bytes(content)
    assert [entry.number for entry in read_leaderboard(tmp_path, "s", ("val/loss",)).entries] == [0]
    assert all("trial.json" in line for line in damaged_trials(trial_folders(tmp_path)))
    assert len(damaged_trials(trial_folders(tmp_path))) == 5


def test_in_a_narrow_terminal_the_values_and_what_gave_them_stay(tmp_path: Path) -> None:
    study = a_study(tmp_path)
    for number in range(3):
        a_trial(study, number, {"network.dim": 2 << number, "network.alpha": 4, "optimizer.lr": 0.1}, 0.3 + number / 7)
    board = read_leaderboard(study, study.name, ("val/loss",))
    whole, narrow = lines(board), lines(board, 80)
    assert max(map(len, whole)) > 80 >= max(map(len, narrow))
    assert "network.dim" in whole[0] and narrow[0].split()[:3] == ["rank", "trial", "val/loss"]
    assert {"dim", "alpha", "lr", "status"} <= set(narrow[0].split())
    assert lines(board, max(map(len, whole))) == whole
