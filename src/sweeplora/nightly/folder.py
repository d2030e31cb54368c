"""A night's folder below `runs`: its name, what it was asked, and whether an earlier command left it unfinished."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.errors import UserError
from sweeplora.nightly.plan import NightPlan
from sweeplora.rundir.files import read_sealed, sealed, write_json
from sweeplora.rundir.places import study_folders
from sweeplora.sweep.reuse import free_name

REPORTS = "nightly"
"""The folder in a night's folder with what it asked and what came of it; it goes into the record."""

_QUESTION, _REPORT, _SIDES = "question.json", "report.json", "sides.json"
_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class NightFolder:
    """The folder of one night."""

    path: Path

    @property
    def reports(self) -> Path:
        """The folder of its reports."""
        return self.path / REPORTS

    @property
    def question(self) -> Path:
        """What it asks, so that a later command knows whether it may go on with it."""
        return self.reports / _QUESTION

    @property
    def report(self) -> Path:
        """What came of it; INFRA until it is finished."""
        return self.reports / _REPORT

    @property
    def sides(self) -> Path:
        """What it knows of each configuration."""
        return self.reports / _SIDES

    def read_report(self) -> dict[str, Any] | None:
        """The content of its report; None if there is none, or it is damaged."""
        return read_sealed(self.report)


def nights(runs: Path) -> list[NightFolder]:
    """Every night below `runs`, oldest first: their names begin alike and end with the time."""
    found = [NightFolder(folder) for folder in study_folders(runs)]
    known = [(night, read_sealed(night.question)) for night in found]
    begun = [(float(asked["started"]), night) for night, asked in known if asked is not None]
    return [night for _, night in sorted(begun, key=lambda one: (one[0], one[1].path.name))]


def identity_of(plan: NightPlan, settings: Mapping[str, Any]) -> str:
    """A hash of all that a night trains and judges, code included: another one is another night."""
    trained = [(one.name, one.experiment.signature) for one in plan.configured]
    text = json.dumps([trained, plan.first_seed, sorted(settings.items(), key=str)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def open_night(runs: Path, name: str | None, identity: str) -> tuple[NightFolder, bool]:
    """The night to go on with, and True; else a new one, created and empty, and False.

    Goes on with a night of the last 24 hours that asks the same and has not finished. `name`: a name for it; None: by
    the time. Raises UserError if a night of that name is finished, or asked something else.
    """
    if name is not None and (runs / name).exists():
        return _named(runs, name, identity), True
    for night in _unfinished(runs, identity) if name is None else ():
        return night, True
    started = time.time()
    chosen = name or time.strftime("nightly-%Y%m%d-%H%M%S", time.gmtime(started))
    night = NightFolder(runs / (chosen if name or not (runs / chosen).exists() else free_name(runs, chosen)))
    night.reports.mkdir(parents=True)
    write_json(night.question, sealed({"identity": identity, "started": round(started, 3)}))
    return night, False


def _unfinished(runs: Path, identity: str) -> Iterator[NightFolder]:
    """Nights that this command may go on with, newest first."""
    for night in reversed(nights(runs)):
        asked = read_sealed(night.question) or {}
        is_today = time.time() - float(asked.get("started", 0.0)) < _DAY_SECONDS
        if is_today and asked.get("identity") == identity and not _is_finished(night):
            yield night


def _named(runs: Path, name: str, identity: str) -> NightFolder:
    night = NightFolder(runs / name)
    asked = read_sealed(night.question)
    if asked is None:
        raise UserError("sweep.name", name, f"is there, and is no night; give sweep.name={free_name(runs, name)}")
    if asked.get("identity") != identity:
        mend = (
            f"that night asked something else, or was trained by other code; give {free_name(runs, name)}, or no name"
        )
        raise UserError("sweep.name", name, mend)
    if _is_finished(night):
        raise UserError("sweep.name", name, f"that night is finished; give {free_name(runs, name)}, or no name")
    return night


def _is_finished(night: NightFolder) -> bool:
    report = night.read_report()
    return report is not None and report.get("finished") is True
