"""Make a night the baseline: only on a person's word, with a reason, from enough seeds, and never a broken night."""

from __future__ import annotations

import functools
import getpass
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from sweeplora.errors import Problems, UserError
from sweeplora.nightly.baseline import (
    FEWEST_SEEDS,
    Accepted,
    Baseline,
    means_of,
    read_baselines,
    write_baseline,
)
from sweeplora.nightly.canary import METRIC as CANARY
from sweeplora.nightly.criterion import Verdict
from sweeplora.nightly.evidence import Evidence
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.key import Key
from sweeplora.nightly.measuring import speed_of
from sweeplora.nightly.quality import OBJECTIVE
from sweeplora.nightly.report import Report, read_data
from sweeplora.nightly.sides import KnownSide, read_sides
from sweeplora.nightly.written import link_of

_GO_ON = "nightly.stop_at_canary=false"


@dataclass(frozen=True)
class Word:
    """A person's word: why this night is the baseline now, and whether its regressions are meant."""

    reason: str
    although_regressed: bool = False


def accept(night: NightFolder, into: Path, word: Word, only: Sequence[str] = ()) -> list[str]:
    """Write the night's baselines, of the configurations `only` or all of them; returns a line for each.

    Raises UserError, with everything that speaks against it, before any file is written.
    """
    report, sides = _finished(night), read_sides(night)
    problems = Problems()
    if not word.reason.strip():
        problems.add(UserError("--reason", word.reason, "say why what this night measured is right from now on"))
    for name in only:
        if name not in sides:
            problems.add(UserError("baseline accept", name, f"the night has no such configuration: {', '.join(sides)}"))
    chosen = {name: side for name, side in sides.items() if not only or name in only}
    for name, side in chosen.items():
        for error in _against(name, side.evidence, _was_stopped(report, name)):
            problems.add(error)
        problems.attempt((), functools.partial(_refuse_regressed, report, name, word))
    problems.refuse()
    before = {one.key: one for one in read_baselines(into)}
    lines = []
    for side in chosen.values():
        made = _made(night, side, word.reason.strip(), before.get(side.key))
        file = write_baseline(into, made)
        lines.append(f"{file}: {_moved(made)}")
    return [*lines, *_left_behind(before, chosen, into)]


def _finished(night: NightFolder) -> Report:
    """The report of a finished night. Raises UserError if it is not finished, or no night."""
    content = night.read_report()
    if content is None:
        raise UserError("baseline accept", night.path.name, "is no night, or its report is damaged; see runs/nightly-*")
    if not content.get("finished"):
        mend = "the night is not finished; the command that began it goes on with it"
        raise UserError("baseline accept", night.path.name, mend)
    report = read_data(content)
    if report is None:
        raise UserError("baseline accept", night.path.name, "its report is another version's; train the night again")
    return report


def _was_stopped(report: Report, name: str) -> bool:
    """Whether nothing but the canary of a configuration was trained, because it REGRESSED."""
    return report.seeds.get(name) == 1 and any(
        one.metric == CANARY and one.verdict is Verdict.REGRESSED for one in report.of(name)
    )


def _against(name: str, evidence: Evidence, was_stopped: bool) -> list[UserError]:
    """What speaks against the evidence of one configuration."""
    found = []
    for seed, lost in sorted(evidence.lost.items()):
        found.append(UserError(f"{name} seed", seed, f"has no result ({lost.reason}); a baseline has all of them"))
    if len(evidence.seeds) < FEWEST_SEEDS:
        asked = f"nightly.seeds={FEWEST_SEEDS}"
        mend = f"a baseline needs {FEWEST_SEEDS}, to know what luck does; give {asked}"
        if was_stopped:
            mend = f"its canary REGRESSED, and it was trained no further; if that is meant, give {asked} {_GO_ON}"
        found.append(UserError(f"{name} seeds", len(evidence.seeds), mend))
    if evidence.triples is None or not evidence.course or not evidence.again:
        found.append(
            UserError(name, "incomplete", "its first losses are missing, or its validation triples are not alike")
        )
    for seed, values in evidence.seeds.items():
        if OBJECTIVE not in values or not all(np.all(np.isfinite(losses)) for losses in values.values()):
            found.append(UserError(f"{name} seed", seed, f"{OBJECTIVE} is missing, or a loss is not finite"))
    return found


def _refuse_regressed(report: Report, name: str, word: Word) -> None:
    worse = [one for one in report.of(name) if one.verdict is Verdict.REGRESSED]
    if worse and not word.although_regressed:
        mend = f"{worse[0].sentence}; if that is meant, say --although-regressed"
        raise UserError(f"{name} {worse[0].metric}", Verdict.REGRESSED.value, mend)


def _made(night: NightFolder, side: KnownSide, reason: str, before: Baseline | None) -> Baseline:
    accepted = Accepted(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        by=_user(),
        reason=reason,
        commit=side.surroundings.commit,
        study=night.path.name,
        run=link_of(night.path),
        means=means_of(side.evidence.seeds),
    )
    previous = () if before is None else (before.accepted, *before.previous)
    speed = {**({} if before is None else before.speed), **speed_of(night.path, side.key.configuration)}
    return Baseline(side.key, accepted, side.surroundings, side.config, side.evidence, previous, speed)


def _user() -> str:
    try:
        return os.environ.get("GIT_AUTHOR_NAME") or getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        return "unknown"


def _moved(made: Baseline) -> str:
    """The objective before and now."""
    now = made.accepted.means[OBJECTIVE]
    if not made.previous:
        return f"new, {OBJECTIVE} {now:.5g} over {len(made.seeds)} seeds"
    before = made.previous[0].means[OBJECTIVE]
    return f"{OBJECTIVE} {before:.5g} -> {now:.5g} ({100 * (now / before - 1):+.2f} %)"


def _left_behind(before: Mapping[Key, Baseline], chosen: Mapping[str, KnownSide], into: Path) -> list[str]:
    """Baselines of the same configurations and device that ask another question: nothing is compared with them now."""
    keys = {side.key for side in chosen.values()}
    names = {(side.key.configuration, side.key.device, side.key.model) for side in chosen.values()}
    old = [
        one
        for one in before.values()
        if one.key not in keys and (one.key.configuration, one.key.device, one.key.model) in names
    ]
    return [f"{into / one.file_name} asks another question; remove it if no night asks it any more" for one in old]
