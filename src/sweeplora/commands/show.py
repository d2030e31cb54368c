"""Show a run or a study: its state, values and sizes, and val/loss over the steps drawn in the terminal."""

from __future__ import annotations

import sys

from sweeplora.commands import Parser
from sweeplora.commands.place import parse_one
from sweeplora.report.plain_json import json_text

_EXAMPLE = "python -m sweeplora show rank_alpha/3"


def main(words: list[str]) -> int:
    """Print what is known about a run or a study; returns 0."""
    from sweeplora.report.page import run_page, shown_run, shown_study, study_page
    from sweeplora.report.unread import unread
    from sweeplora.rundir.places import is_study, run_folders

    parser = Parser("show", __doc__ or "", _EXAMPLE)
    parser.add_argument("--json", action="store_true", help="as JSON, with every value of the metric")
    parser.add_argument("--metric", metavar="KEY", help="what to draw over the steps; val/loss by default")
    parser.add_argument("name", metavar="RUN", help="study/number, a study, a folder, a single run, a weights file")
    parser.add_argument("words", nargs="*", metavar="WORD", help="runs=FOLDER")
    asked, (_, folder) = parse_one(parser, words)
    if is_study(folder):
        page = study_page(folder, asked.metric)
        lines = [json_text(page, indent=1)] if asked.json else shown_study(page)
    else:
        page = run_page(folder, asked.metric)
        lines = [json_text(page, indent=1)] if asked.json else shown_run(page)
    print("\n".join(lines))
    for line in unread(run_folders(folder) if is_study(folder) else [folder]):
        print(line, file=sys.stderr)
    return 0
