"""What came of a night, as data: criteria, what differs from the baseline, what was left out, links to both sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sweeplora.nightly.criterion import Criterion, Verdict, verdict_of


@dataclass(frozen=True)
class Link:
    """One side of a comparison: the study's name, its commit, and where its MLflow run is (empty: nowhere)."""

    study: str
    commit: str
    run: str = ""

    @property
    def text(self) -> str:
        """`nightly-20261126-031500, commit 1a2b3c4d5e, http://.../runs/...`."""
        commit = f"commit {self.commit[:10]}{'+changes' if self.commit.endswith('+changes') else ''}"
        return ", ".join(part for part in (self.study, commit if self.commit else "no commit", self.run) if part)


@dataclass(frozen=True)
class Report:
    """A night. Times in seconds since the epoch; `seconds`: of this command alone.

    `finished`: False while it runs and after it was cut off. `differences`: configuration -> what changed since its
    baseline. `baselines`: configuration -> the other side of its comparison. `notes`: what was not judged, and why.
    """

    night: Link
    started: float
    ended: float
    seconds: float
    finished: bool
    criteria: tuple[Criterion, ...]
    left_out: Mapping[str, str]
    differences: Mapping[str, tuple[str, ...]]
    baselines: Mapping[str, Link]
    seeds: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """That of the whole night."""
        return verdict_of(self.criteria)

    def of(self, configuration: str) -> tuple[Criterion, ...]:
        """The criteria of one configuration."""
        return tuple(one for one in self.criteria if one.configuration == configuration)


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON; read back by `from_data`."""
    return {"verdict": report.verdict.value, **asdict(report)}


def from_data(content: Mapping[str, Any]) -> Report:
    """A report from its JSON. Raises KeyError, TypeError or ValueError if it is none."""
    return Report(
        night=Link(**content["night"]),
        started=float(content["started"]),
        ended=float(content["ended"]),
        seconds=float(content["seconds"]),
        finished=bool(content["finished"]),
        criteria=tuple(map(_criterion, content["criteria"])),
        left_out=dict(content["left_out"]),
        differences={name: tuple(lines) for name, lines in content["differences"].items()},
        baselines={name: Link(**one) for name, one in content["baselines"].items()},
        seeds=dict(content["seeds"]),
        notes=tuple(content.get("notes", ())),
    )


def read_data(content: Mapping[str, Any]) -> Report | None:
    """A report from its file's content; None if another version wrote it and it means something else here."""
    try:
        return from_data(content)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _criterion(content: Mapping[str, Any]) -> Criterion:
    interval = content["interval"]
    verdict = Verdict(content["verdict"])
    return Criterion(**{**content, "verdict": verdict, "interval": tuple(interval) if interval else None})


def headline(report: Report) -> str:
    """`REGRESSED: locon, dora (of 8 configurations, 1:05 minutes)`."""
    named: Sequence[str] = list(
        dict.fromkeys(one.configuration for one in report.criteria if one.verdict is report.verdict)
    )
    about = f": {', '.join(named)}" if report.verdict not in (Verdict.PASS,) and named else ""
    return f"{report.verdict.value}{about}"
