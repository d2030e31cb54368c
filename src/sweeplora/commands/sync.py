"""Bring the record up to date with every run folder."""

from __future__ import annotations

import sys
from pathlib import Path

from sweeplora.commands import Parser
from sweeplora.commands.one_run import key_of
from sweeplora.commands.words import STORE, expect_keys, is_assignment
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora sync runs=/data/runs tracking.uri=http://host:5000"
_FAILED = 1
_READ = ("runs", *STORE, "tracking.enabled", "tracking.tensorboard", "tracking.tensorboard_prefix")


def main(words: list[str]) -> int:
    """Record what is not recorded yet; prints a line per folder that could not be brought up to date and returns 1.

    Each folder is sent where its own configuration says; only `tracking` keys among the words override it.
    """
    from sweeplora.config.binding import check_node
    from sweeplora.config.compose import compose
    from sweeplora.record.sync import sync

    parser = Parser("sync", __doc__ or "", _EXAMPLE)
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="studies or runs, all by default; runs=FOLDER; tracking.…"
    )
    given_words = parser.parse(words).words
    overrides = [word for word in given_words if is_assignment(word)]
    names = [word for word in given_words if word not in overrides]
    expect_keys("sync", overrides, _READ)
    config = compose(overrides).config
    check_node("tracking", config["tracking"])
    given = {key_of(word) for word in overrides}
    if "tracking.enabled" in given and not config["tracking"]["enabled"]:
        raise UserError("tracking.enabled", "false", "has no effect on `sync`, which sends; leave it out")
    changed = {key: value for key, value in config["tracking"].items() if f"tracking.{key}" in given}
    runs = Path(config["runs"])
    if not runs.is_dir():
        raise UserError("runs", runs, "there is no such folder; give runs=FOLDER")
    troubles = sync(runs, changed, [_folder(runs, name) for name in names])
    for trouble in troubles:
        print(trouble, file=sys.stderr)
    return _FAILED if troubles else 0


def _folder(runs: Path, name: str) -> Path:
    """The folder that is sent as one: a study, also for one of its trials, or a single run."""
    from sweeplora.report.find import find_folder
    from sweeplora.rundir.places import is_study

    folder = find_folder(runs, name)
    return folder.parent if is_study(folder.parent) else folder
