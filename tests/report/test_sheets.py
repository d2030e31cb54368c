"""Contact sheets: which picture is where, known by its colour."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeplora.__main__ import main
from sweeplora.errors import UserError
from sweeplora.report.axes import choose_axes
from sweeplora.report.leaderboard import Leaderboard, read_leaderboard
from sweeplora.report.samples import copying, kept_picture
from sweeplora.report.sheets import study_sheets
from sweeplora.report.value_sheets import value_sheets
from sweeplora.rundir.folder import RunDir
from tests.report.studies import BASE, Colour, a_preview, a_study, a_trial

COLOURS: tuple[Colour, ...] = ((200, 0, 0), (0, 160, 0), (0, 0, 200), (160, 0, 160), (0, 160, 160))
FRAME = (0xD1, 0x49, 0x5B)


def center(image: Image.Image, colour: Colour, near: int = 3) -> tuple[float, float] | None:
    """(x, y) of the middle of a colour's pixels, None where there are not enough for a picture."""
    off = np.abs(np.asarray(image).astype(int) - np.array(colour)).max(axis=2)
    rows, columns = np.nonzero(off <= near)
    return (float(columns.mean()), float(rows.mean())) if len(rows) > 2000 else None


def board_of(study: Path) -> Leaderboard:
    return read_leaderboard(study, study.name, ("val/loss",))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two ranks by two rates, each with a picture of its colour; a fifth trial shares the best one's cell."""
    folder = a_study(tmp_path / "runs")
    points = [(2, 1e-4, 0.4), (2, 1e-3, 0.3), (8, 1e-4, 0.2), (8, 1e-3, 0.1), (8, 1e-3, 0.15)]
    for number, (dim, rate, value) in enumerate(points):
        run = a_trial(folder, number, {"network.dim": dim, "optimizer.lr": rate}, value)
        a_preview(run, 0, BASE)
        a_preview(run, 20, COLOURS[number])
    return folder


def test_rows_and_columns_are_the_searched_keys_and_the_base_is_beside(study: Path) -> None:
    board = board_of(study)
    (sheet,) = study_sheets(board, choose_axes(board, None, None), study)
    places = [center(sheet.image, colour) for colour in COLOURS[:4]]
    (a, b, c, d), base = [place for place in places if place is not None], center(sheet.image, BASE)
    assert base is not None and base[0] < a[0] and base[1] == pytest.approx(a[1], abs=3)
    assert a[0] == pytest.approx(c[0], abs=1) and b[0] == pytest.approx(d[0], abs=1) and a[0] < b[0]
    assert a[1] == pytest.approx(b[1], abs=1) and c[1] == pytest.approx(d[1], abs=1) and a[1] < c[1]
    assert sheet.caption == "a red apple"


def test_of_several_trials_in_a_cell_the_best_is_shown_and_the_best_of_all_is_framed(study: Path) -> None:
    board = board_of(study)
    sheet = study_sheets(board, choose_axes(board, None, None), study)[0].image
    assert center(sheet, COLOURS[4]) is None  # 0.15 shares the cell of 0.1
    best = center(sheet, COLOURS[3])
    assert best is not None
    pixels = np.asarray(sheet)
    row = pixels[round(best[1])]
    framed = [column for column in range(len(row)) if tuple(row[column]) == FRAME]
    assert framed and min(framed) < best[0] < max(framed)  # on its left and on its right
    assert max(framed) - min(framed) < 300


def test_chosen_axes_turn_the_sheet(study: Path) -> None:
    board = board_of(study)
    sheet = study_sheets(board, choose_axes(board, "optimizer.lr", "dim"), study)[0].image
    b, c = center(sheet, COLOURS[1]), center(sheet, COLOURS[2])
    assert b is not None and c is not None and b[0] < c[0] and b[1] > c[1]


def test_trials_that_were_pruned_are_faded_and_those_without_pictures_are_said(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number, verdict in enumerate(("complete", "pruned", "failed", "running")):
        value = 0.2 if verdict == "complete" else None
        run = a_trial(folder, number, {"network.dim": 2**number}, value, verdict)
        if verdict in ("complete", "pruned"):
            a_preview(run, 10, COLOURS[number])
    (folder / f"003-{3:012x}/samples").mkdir()
    broken = folder / f"003-{3:012x}/samples/00000010_00.png"
    broken.write_bytes(b"\x89PNG half a picture")
    board = board_of(folder)
    sheet = study_sheets(board, choose_axes(board, None, None), folder)[0].image
    pruned = tuple(round(0.55 * part + 0.45 * 255) for part in COLOURS[1])
    assert center(sheet, COLOURS[0]) is not None and center(sheet, COLOURS[1]) is None
    assert center(sheet, (pruned[0], pruned[1], pruned[2])) is not None


def test_the_base_models_picture_is_no_trials(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number, verdict in enumerate(("complete", "pruned")):
        run = a_trial(folder, number, {"network.dim": 2**number}, 0.2 if number == 0 else None, verdict)
        a_preview(run, 0, BASE)
    a_preview(RunDir(folder / f"000-{0:012x}"), 20, COLOURS[0])
    board = board_of(folder)
    sheet = study_sheets(board, choose_axes(board, None, None), folder)[0].image
    faded = tuple(round(0.55 * part + 0.45 * 255) for part in BASE)
    assert center(sheet, BASE) is not None and center(sheet, COLOURS[0]) is not None
    assert center(sheet, (faded[0], faded[1], faded[2])) is None, "a trial that stopped early drew none of its own"


def test_a_study_without_previews_has_no_sheet(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    a_trial(folder, 0, {"network.dim": 2}, 0.2)
    assert study_sheets(board_of(folder), choose_axes(board_of(folder), None, None), folder) == []


def test_of_three_keys_the_two_that_explain_most_are_chosen(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number in range(12):
        params = {"a.quiet": number % 2, "b.loud": number % 3, "c.louder": number // 6}
        a_trial(folder, number, params, 0.1 + (number % 3) / 10 + (number // 6) / 3)
    axes = choose_axes(board_of(folder), None, None)
    assert [axis.key for axis in axes] == ["b.loud", "c.louder"]
    assert [axis.key for axis in choose_axes(board_of(folder), None, "quiet")] == ["c.louder", "a.quiet"]


def test_many_numbers_share_places_and_absent_ones_have_their_own(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number in range(20):
        params = {"optimizer.lr": 10 ** (-4 + number / 10)} if number < 15 else {"optimizer.d_coef": 1.0}
        a_trial(folder, number, params, 0.1 + number / 100)
    axis = choose_axes(board_of(folder), "optimizer.lr", None)[0]
    assert len(axis.labels) == 6 and axis.labels[0].startswith("lr 0.0001 to ") and axis.labels[-1] == "lr not set"
    sizes = [sum(place == at for place in axis.places.values()) for at in range(6)]
    assert sizes == [3, 3, 3, 3, 3, 5] and math.isclose(sum(sizes), 20)
    order = [axis.places[number] for number in range(15)]
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ("network.dmi", None, "--rows=network.dmi: was not searched; nearest: network.dim"),
        (None, "lrr", "was not searched; there are: network.dim, optimizer.lr"),
        ("dim", "network.dim", "the rows are dim already"),
    ],
)
def test_axes_that_were_not_searched_are_refused(study: Path, rows: str | None, columns: str | None, said: str) -> None:
    with pytest.raises(UserError) as refused:
        choose_axes(board_of(study), rows, columns)
    assert said in str(refused.value)


def test_a_runs_own_sheet_has_prompts_by_steps(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study.parent.parent)
    from sweeplora.rundir.folder import RunDir

    run = RunDir(study / f"000-{0:012x}")
    a_preview(run, 10, COLOURS[4])
    a_preview(run, 10, COLOURS[3], prompt=1, text="кошка, 猫")
    assert main(["report", "ranks/0"]) == 0
    assert capsys.readouterr().out == "runs/ranks/sheets/trial-000.png\n"
    image = Image.open(study / "sheets/trial-000.png").convert("RGB")
    base, early, last, other = (center(image, colour) for colour in (BASE, COLOURS[4], COLOURS[0], COLOURS[3]))
    assert base and early and last and other
    assert base[0] < early[0] < last[0] and base[1] == pytest.approx(last[1], abs=1)
    assert other[0] == pytest.approx(early[0], abs=1) and other[1] > early[1]
    assert main(["report", "ranks/0", "--rows", "network.dim"]) == 2
    assert "has no effect for a single run" in capsys.readouterr().err


def test_large_previews_are_read_once_and_again_when_they_change(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    files = []
    for number in range(10):
        file = tmp_path / f"{number:03}-a" / "samples" / "00000020_00.png"
        file.parent.mkdir(parents=True)
        noise = random.integers(0, 60, (300, 300, 3), dtype=np.uint8)
        noise[:, :, number % 3] += 150
        Image.fromarray(noise).save(file)
        files.append(file)
    with copying(files, tmp_path / "kept"):  # in other processes
        pass
    assert len(list((tmp_path / "kept").iterdir())) == 10
    for number, file in enumerate(files):
        small = kept_picture(file, 96, tmp_path / "kept")
        assert small is not None and small.size == (96, 96)
        assert np.asarray(small).mean(axis=(0, 1)).argmax() == number % 3
    files[1].rename(tmp_path / "away.png")
    assert kept_picture(files[1], 96, tmp_path / "kept") is None
    red = np.zeros((300, 300, 3), dtype=np.uint8)
    red[:, :, 0] = random.integers(150, 255, (300, 300))
    Image.fromarray(red).save(files[2], compress_level=0)  # it was blue
    later = files[2].stat().st_mtime_ns + 10**9
    os.utime(files[2], ns=(later, later))
    assert np.asarray(kept_picture(files[2], 96, tmp_path / "kept")).mean(axis=(0, 1)).argmax() == 0
    (tmp_path / "kept" / f"{files[0].parent.parent.name}-{files[0].stem}.webp").write_bytes(b"torn")
    torn = kept_picture(files[0], 96, tmp_path / "kept")
    assert torn is not None and np.asarray(torn).mean(axis=(0, 1)).argmax() == 0


def test_the_best_trial_of_each_value_stands_beside_the_base_one_row_a_prompt(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number, (dim, rate, value) in enumerate([(8, 1e-4, 0.2), (8, 1e-3, 0.1), (2, 2e-4, 0.3), (2, 1e-3, None)]):
        run = a_trial(
            folder, number, {"network.dim": dim, "optimizer.lr": rate}, value, "complete" if value else "pruned"
        )
        a_preview(run, 0, BASE)
        a_preview(run, 20, COLOURS[number])
        if number != 3:
            a_preview(run, 20, COLOURS[4] if number == 1 else (90, 90, 90), prompt=1, text="a green pear")
    a_trial(folder, 4, {"network.dim": 4, "optimizer.lr": 3e-3}, 0.5)  # without pictures: it has no column
    for number in (5, 6):
        a_trial(folder, number, {"network.dim": 2, "optimizer.lr": 1e-3}, None, "pruned")
    board = board_of(folder)
    (sheet,) = value_sheets(board, folder)  # of the rates, too many differ
    base, two, eight = (center(sheet.image, colour) for colour in (BASE, COLOURS[2], COLOURS[1]))
    assert base is not None and two is not None and eight is not None
    assert base[0] < two[0] < eight[0] and base[1] == pytest.approx(two[1], abs=3) == pytest.approx(eight[1], abs=3)
    pear = center(sheet.image, COLOURS[4])
    assert pear is not None and pear[0] == pytest.approx(eight[0], abs=3) and pear[1] > eight[1] + 50
    assert center(sheet.image, COLOURS[0]) is None and center(sheet.image, COLOURS[3]) is None
    assert (sheet.name, sheet.caption) == ("best-dim", "the best trial of each network.dim")


def test_where_one_key_varies_the_best_of_each_value_has_no_sheet_of_its_own(tmp_path: Path) -> None:
    folder = a_study(tmp_path / "runs")
    for number, dim in enumerate((2, 2, 2, 8, 8)):
        run = a_trial(folder, number, {"network.dim": dim, "network.alpha": 4}, 0.2 + number / 10)
        a_preview(run, 20, COLOURS[number])
    assert value_sheets(board_of(folder), folder) == []
