"""Write a study's report.html and contact sheets, at any time; or the contact sheet of one run."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.place import parse_one
from sweeplora.commands.target import file_target
from sweeplora.errors import UserError

_PAGES = (".html", ".htm")
_EXAMPLE = "python -m sweeplora report rank_alpha --rows network.dim --columns network.alpha"


def main(words: list[str]) -> int:
    """Write the report and print its files; returns 0."""
    from sweeplora.rundir.places import is_study

    parser = Parser("report", __doc__ or "", _EXAMPLE)
    parser.add_argument("--rows", metavar="KEY", help="the searched key down the contact sheets")
    parser.add_argument("--columns", metavar="KEY", help="the searched key across; both are chosen if not given")
    parser.add_argument(
        "--out", metavar="FILE", help="where the page goes, a .html; report.html in the study's folder otherwise"
    )
    parser.add_argument("name", metavar="STUDY", help="a study, running or not; or a run, for its contact sheet alone")
    parser.add_argument("words", nargs="*", metavar="WORD", help="runs=FOLDER")
    asked, (_, folder) = parse_one(parser, words)
    if is_study(folder):
        return _of_study(folder, asked.rows, asked.columns, asked.out)
    for name in ("rows", "columns", "out"):
        if getattr(asked, name) is not None:
            raise UserError(f"--{name}", getattr(asked, name), "has no effect for a single run; name a study")
    return _of_run(folder)


def _of_study(folder: Path, rows: str | None, columns: str | None, out: str | None) -> int:
    from sweeplora.report.study_report import Asked, write_report
    from sweeplora.report.summaries import study_summary
    from sweeplora.report.words import near
    from sweeplora.rundir.record import read_study

    target = None if out is None else file_target("--out", out, _PAGES, lambda file: _is_report(file, folder))
    study = read_study(folder)
    assert study is not None, "find_folder found a study"
    state = study_summary(folder, measure=False).state
    written = write_report(folder, study, state, time.time(), Asked(rows, columns, target))
    print(near(written.page))
    for file in written.sheets:
        print(near(file))
    for line in written.unread:
        print(line, file=sys.stderr)
    return 0


def _is_report(file: Path, study: Path) -> bool:
    """Whether a file is a report; the study's own is, also of a version whose pages did not say so."""
    from sweeplora.report.study_page import is_page
    from sweeplora.rundir.folder import REPORT

    own = study / REPORT
    return is_page(file) or (own.exists() and file.samefile(own))


def _of_run(folder: Path) -> int:
    from sweeplora.report.sheets import SHEETS, kept_in, trial_sheet, write_sheets
    from sweeplora.report.summaries import display_name, run_summary
    from sweeplora.report.words import named_values, near
    from sweeplora.rundir.places import is_study

    run = run_summary(folder, measure=False)
    title = f"{display_name(run)}: {named_values(run.params)}".removesuffix(": ")
    in_study = is_study(folder.parent)
    name = f"trial-{folder.name.partition('-')[0]}" if in_study else "sheet"
    sheet = trial_sheet(folder, name, title, kept_in(folder.parent) if in_study else None)
    if sheet is None:
        raise UserError("RUN", display_name(run), "it has no previews (sample=none, or none is drawn yet)")
    print(near(write_sheets([sheet], folder.parent / SHEETS if in_study else folder)[0]))
    return 0
