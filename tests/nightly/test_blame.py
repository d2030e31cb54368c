"""The configurations whose losses regressed in the latest night are searched, and no others."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.nightly.blame import failing
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.report import Link, Report
from sweeplora.nightly.written import write_report
from sweeplora.rundir.files import sealed, write_json
from sweeplora.rundir.record import StudyRecord, write_study

NAMES = ["locon", "dora", "lokr"]


def night(runs: Path, name: str, *wrong: tuple[str, str], finished: bool = True) -> None:
    """A night in which these (configuration, metric) REGRESSED."""
    folder = NightFolder(runs / name)
    folder.reports.mkdir(parents=True)
    started = time.time()
    write_study(folder.path, StudyRecord(study=name, objective="val/loss", started=started))
    write_json(folder.question, sealed({"identity": "x", "started": started}))
    criteria = tuple(Criterion(*pair, Verdict.REGRESSED, "it is worse") for pair in wrong)
    passed = Criterion("lokr", "val/loss", Verdict.PASS, "it is not")
    report = Report(Link(name, "c"), started, started, 1.0, finished, (*criteria, passed), {}, {}, {}, {})
    write_report(folder, replace(report, finished=finished))


def test_those_that_failed_in_the_latest_finished_night(tmp_path: Path) -> None:
    night(tmp_path, "nightly-1", ("lokr", "val/loss"))
    night(tmp_path, "nightly-2", ("dora", "canary"), ("dora", "val/loss"), ("locon", "step_seconds"))
    night(tmp_path, "nightly-3", ("locon", "val/loss"), finished=False)
    assert failing(tmp_path, "a..b", NAMES) == ["dora"]


def test_all_of_them_where_nothing_failed(tmp_path: Path) -> None:
    assert failing(tmp_path, "a..b", NAMES) == NAMES
    night(tmp_path, "nightly-1")
    assert failing(tmp_path, "a..b", NAMES) == NAMES


def test_a_slower_step_is_no_matter_of_losses(tmp_path: Path) -> None:
    night(tmp_path, "nightly-1", ("locon", "step_seconds"), ("locon", "peak_memory"))
    with pytest.raises(UserError, match=r"nightly\.against"):
        failing(tmp_path, "a..b", NAMES)
