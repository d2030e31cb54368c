"""Choose with your eyes: compare the previews of a study's trials two by two, in a page on this machine alone."""

from __future__ import annotations

import random
import time
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.place import parse_one
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora prefer rank_alpha"


def main(words: list[str]) -> int:
    """Print the page's address, serve it until the person ends it, and print the result; returns 0."""
    from sweeplora.rundir.lock import hold
    from sweeplora.rundir.places import is_study

    parser = Parser("prefer", __doc__ or "", _EXAMPLE)
    parser.add_argument("--port", type=_port, default=0, metavar="N", help="port to serve at; a free one by default")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    parser.add_argument("name", metavar="STUDY", help="a study with previews, running or not")
    parser.add_argument("words", nargs="*", metavar="WORD", help="runs=FOLDER")
    asked, (name, folder) = parse_one(parser, words)
    if not is_study(folder):
        raise UserError("STUDY", name, "that is one run, and there is nothing to compare it with; name a study")
    try:
        lock = hold(folder / "prefer.lock")
    except BlockingIOError:
        raise UserError("STUDY", name, "another `prefer` compares its trials; end that one first") from None
    with lock:
        return _compare(folder, asked.port, not asked.no_browser)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) < 1 << 16:
        raise UserError("--port", text, "give a port number, e.g. --port 5001")
    return int(text)


def _compare(folder: Path, port: int, browser: bool) -> int:
    from sweeplora.report.browser import announce
    from sweeplora.report.prefer.server import PreferServer
    from sweeplora.report.prefer.session import Session
    from sweeplora.rundir.record import read_study

    study = read_study(folder)
    assert study is not None, "find_folder found a study"
    session = Session(folder, study.objectives, random.Random())
    try:
        with PreferServer(session, port) as server:
            announce(server.address, browser)
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                print()
    finally:
        session.close()
    _tell(folder)
    return 0


def _tell(folder: Path) -> None:
    """Write the leaderboard and the report anew, and print what came of the comparisons."""
    from sweeplora.report.leaderboard import read_leaderboard, write_leaderboard
    from sweeplora.report.preference_words import preference_lines
    from sweeplora.report.study_report import following, write_report
    from sweeplora.report.summaries import study_summary
    from sweeplora.report.terminal_board import lines, terminal_width
    from sweeplora.report.verdict import said
    from sweeplora.report.words import near
    from sweeplora.rundir.record import read_study

    study = read_study(folder)
    assert study is not None, "the study was there a moment ago"
    board = read_leaderboard(folder, study.study, study.objectives)
    if board.preferences is None:
        print("nothing was compared")
        return
    told = preference_lines(board)
    state = study_summary(folder, measure=False).state
    if state != "running":  # its driver writes the leaderboard while it lives
        write_leaderboard(folder, board, (*said(folder), *told))
    page = write_report(folder, study, state, time.time()).page
    print("\n".join([*lines(board, terminal_width()), "", *told, f"report: {near(page)}"]))
    (sentence, command), *_ = following(folder, study, state, board)
    if state == "interrupted":
        print(f"{sentence} {command}")
