"""Write what a study shows: plots, contact sheets, and the page that holds all of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from sweeplora.report.axes import Axis, choose_axes
from sweeplora.report.leaderboard import Leaderboard, read_leaderboard
from sweeplora.report.objectives import PREFERENCE
from sweeplora.report.plots import draw_plots
from sweeplora.report.preference_words import preference_lines
from sweeplora.report.samples import copying
from sweeplora.report.sheets import SHEETS, kept_in, shown_in, study_sheets, trial_sheet, write_sheets
from sweeplora.report.statistics import ALPHA
from sweeplora.report.study_page import Content, courses_of, page
from sweeplora.report.unread import unread
from sweeplora.report.value_sheets import value_sheets
from sweeplora.report.verdict import judge
from sweeplora.report.words import named_values, near
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.folder import REPORT, RunDir
from sweeplora.rundir.places import run_folders
from sweeplora.rundir.record import StudyRecord, damaged_trials, trial_folders

_BEST_SHOWN = 3
_USER_OF_URL = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*://)[^\s/'\"]*@")


class Asked(NamedTuple):
    """What a person chose: the axes of the contact sheets, and where the page goes (None: the study's folder)."""

    rows: str | None = None
    columns: str | None = None
    out: Path | None = None


_DEFAULT = Asked()


class Written(NamedTuple):
    """The files of a report. `unread`: a sentence for each file of the study with lines that no reader can use."""

    page: Path
    sheets: tuple[Path, ...]
    unread: tuple[str, ...]


def write_report(folder: Path, study: StudyRecord, state: str, now: float, asked: Asked = _DEFAULT) -> Written:
    """Write a study's report from its run folders, whatever state they are in.

    `state` is the study's: a record that says `running` may be a dead driver's. Raises UserError for axes that were
    not searched, before anything is drawn.
    """
    board = read_leaderboard(folder, study.study, study.objectives)
    axes = choose_axes(board, asked.rows, asked.columns)
    best = [entry for entry in board.entries if entry.values][:_BEST_SHOWN]
    with copying(shown_in(board, axes, best), kept_in(folder)):
        found = judge(board, study.space if isinstance(study.space, dict) else {}, study.alpha or ALPHA)
        figures = draw_plots(board, folder / "plots", axes)
        courses = courses_of(board)
    of_values, sheets = value_sheets(board, folder), study_sheets(board, axes, folder)
    shown = [
        trial_sheet(
            entry.folder,
            f"trial-{entry.number:03d}",
            f"trial {entry.number}: {named_values(entry.params)}",
            kept_in(folder),
        )
        for entry in best
    ]
    of_trials = [sheet for sheet in shown if sheet is not None]
    target = asked.out or folder / REPORT
    passed_over = tuple(unread(run_folders(folder)))
    content = Content(
        study=study,
        state=state,
        board=board,
        target=target,
        verdict=(*(found.lines if found is not None else ()), *preference_lines(board)[:1]),
        following=following(folder, study, state, board),
        command=command_of(study),
        value_sheets=of_values,
        sheets=sheets,
        trial_sheets=of_trials,
        figures=figures,
        courses=courses,
        written=now,
        notes=[*_notes(folder, state), *passed_over],
        axes=_said_of(axes, board, folder.name, bool(asked.rows or asked.columns)),
    )
    files = write_sheets([*of_values, *sheets, *of_trials], folder / SHEETS)
    write_whole(target, page(content))
    return Written(target, tuple(files), passed_over)


def following(folder: Path, study: StudyRecord, state: str, board: Leaderboard) -> list[tuple[str, str]]:
    """What to do next: a sentence and a command (or none) each, the most useful first."""
    name, best = study.study, board.best
    if state == "running":
        return [
            ("It still runs; see how far it is:", f"python -m sweeplora status {name} --watch"),
            ("Write this page again at any time:", f"python -m sweeplora report {name}"),
        ]
    told = []
    eyes = f"python -m sweeplora prefer {name}"
    if lacking := board.lacking():
        told.append((f"{len(lacking)} trials were not compared often enough; compare them:", eyes))
    if state == "interrupted" and board.objectives == (PREFERENCE,):
        told.append(("Go on with the search, once the trials so far are compared:", command_of(study)))
    elif state == "interrupted":
        told.append(("It was interrupted; the same command continues it:", command_of(study)))
    if best is not None and best.weights is not None:
        told.append(("Use the best file: copy it into the LoRA folder of your program.", str(near(best.weights))))
    if best is not None:
        told.append(("See all about the best trial:", f"python -m sweeplora show {name}/{best.number}"))
        if board.objectives != (PREFERENCE,) and board.preferences is None and _has_pictures(board):
            told.append(("See which trial you prefer: compare their pictures two by two.", eyes))
        if not board.repeats and len(board.objectives) == 1 and board.objectives != (PREFERENCE,):
            told.append(
                (
                    "See whether the best few differ by more than luck: train them again with other seeds.",
                    f"{command_of(study)} sweep.confirm.top=3",
                )
            )
        told.append(
            ("Train the best trial again and compare every byte:", f"python -m sweeplora rerun {name}/{best.number}")
        )
    failed = [entry for entry in board.entries if entry.verdict in ("failed", "diverged")]
    told += [
        (f"Trial {entry.number} {entry.verdict}: {entry.message or 'see its log'}", str(near(entry.folder / "log.txt")))
        for entry in failed[:_BEST_SHOWN]
    ]
    told.append(("Compare trials in MLflow:", "python -m sweeplora ui"))
    return told


def _has_pictures(board: Leaderboard) -> bool:
    """Whether two complete trials have previews to compare."""
    complete = [entry for entry in board.entries if entry.verdict == "complete"]
    return sum(RunDir(entry.folder).samples.is_dir() for entry in complete) > 1


def command_of(study: StudyRecord) -> str:
    """The command that began or continued a study, as one types it; user names and passwords in addresses are gone."""
    if not study.command:
        return f"python -m sweeplora {shlex.join(study.overrides)}".strip()
    first, *words = study.command
    program = "python -m sweeplora" if first.endswith("__main__.py") else Path(first).name
    return _USER_OF_URL.sub(lambda match: match["scheme"], f"{program} {shlex.join(words)}".strip())


def _notes(folder: Path, state: str) -> list[str]:
    told = [f"left out: {line}" for line in damaged_trials(trial_folders(folder))]
    if state == "running":
        told.append("This study still runs: the page shows it as it was when it was written.")
    return told


def _said_of(axes: tuple[Axis, Axis], board: Leaderboard, name: str, is_asked: bool) -> str:
    """How to see other axes, where more than two keys were searched; `is_asked`: a person chose these."""
    keys = {key for entry in board.entries for key in entry.params}
    if len(keys) < 3:
        return ""
    why = "were asked for" if is_asked else "explain most of the objective"
    command = f"python -m sweeplora report {name} --rows KEY --columns KEY"
    return f"{axes[0].key} against {axes[1].key}, which {why}; for others of {', '.join(sorted(keys))}: {command}"
