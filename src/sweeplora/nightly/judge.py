"""The criteria of a night: every configuration's trainings, canary and quality against its baseline. No files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeplora.nightly.baseline import Baseline
from sweeplora.nightly.canary import METRIC as CANARY
from sweeplora.nightly.canary import envelope, first_difference, judge_canary
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.ended import Fault
from sweeplora.nightly.quality import OBJECTIVE, Pair, Rules, judge_quality
from sweeplora.nightly.sides import KnownSide
from sweeplora.nightly.surroundings import changes

TRAININGS = "trainings"
BASELINE = "baseline"
_SHOWN = 4
_NOT_OF_THE_BITS = ("cores", "memory_gib")
"""Facts of a machine on which no bit of a training depends."""


@dataclass(frozen=True)
class Side(KnownSide):
    """What a night knows of one configuration, with its baseline; `missing`: why there is none."""

    baseline: Baseline | None = None
    missing: str = ""

    @property
    def name(self) -> str:
        """The configuration's name."""
        return self.key.configuration


def judge(sides: Sequence[Side], rules: Rules) -> list[Criterion]:
    """Every criterion of a night, by configuration; the tests of all configurations are corrected together."""
    pairs = [_pair(side) for side in sides if side.baseline is not None and _scored_alike(side)]
    by_name: dict[str, list[Criterion]] = {side.name: [trainings_of(side)] for side in sides}
    quality = judge_quality(pairs, rules)
    for side in sides:
        if side.baseline is None:
            by_name[side.name].append(Criterion(side.name, BASELINE, Verdict.NO_BASELINE, side.missing))
            continue
        by_name[side.name].append(canary_of(side))
        if not _scored_alike(side):
            sentence = "the validation scores other triples than the baseline's, so that no losses are comparable"
            by_name[side.name].append(Criterion(side.name, OBJECTIVE, Verdict.NO_BASELINE, sentence))
    for criterion in quality:
        by_name[criterion.configuration].append(criterion)
    return [criterion for criteria in by_name.values() for criterion in criteria]


def trainings_of(side: Side) -> Criterion:
    """Whether every training came to its end; one that diverged or fails by itself is a regression."""
    evidence = side.evidence
    trained, lost = len(evidence.seeds), evidence.lost
    by_itself = {seed: one for seed, one in lost.items() if one.fault is Fault.TRAINING}
    if not lost:
        sentence = f"{trained} of {trained} came to their end"
        return Criterion(side.name, TRAININGS, Verdict.PASS, sentence, seeds=trained)
    shown = by_itself or lost
    seed, first = next(iter(sorted(shown.items())))
    counted = f"{len(shown)} of {trained + len(lost)} {'failed' if by_itself else 'were cut off'}"
    verdict = Verdict.REGRESSED if by_itself else Verdict.INFRA
    return Criterion(side.name, TRAININGS, verdict, f"{counted}, e.g. seed {seed}: {first.reason}", seeds=trained)


def canary_of(side: Side) -> Criterion:
    """The first losses against the baseline's."""
    assert side.baseline is not None
    there = side.baseline.evidence
    if not side.evidence.course:
        return Criterion(side.name, CANARY, Verdict.INFRA, "there are no losses of its seed")
    limits = envelope(there.course, there.again, side.config.get("train.mixed_precision", "no"))
    return judge_canary(side.name, (there.course, side.evidence.course), limits, _why_not_the_same_bits(side))


def _why_not_the_same_bits(side: Side) -> str | None:
    """What is different between the two sides that a bit may depend on; None if the bits have to be the same."""
    found = differences(side)
    assert side.baseline is not None
    there = side.baseline.evidence
    if there.again and first_difference(there.course, there.again) is not None:
        found = (*found, "this device does not repeat bits")
    if not found:
        return None
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def differences(side: Side) -> tuple[str, ...]:
    """What could have changed the numbers: code, settings, versions, machine; each as `what before -> after`."""
    before = side.baseline
    if before is None:
        return ()
    found = []
    if before.evidence.source != side.evidence.source:
        commits = f"{_short(before.surroundings.commit)} -> {_short(side.surroundings.commit)}"
        found.append(f"the training's code ({commits})")
    found += changes(before.config, side.config)
    found += changes(before.surroundings.versions, side.surroundings.versions)
    machines = [
        {name: value for name, value in one.machine.items() if name not in _NOT_OF_THE_BITS}
        for one in (before.surroundings, side.surroundings)
    ]
    return (*found, *changes(*machines))


def _short(commit: str) -> str:
    name, plus, rest = commit.partition("+")
    return f"{name[:10]}{plus}{rest}" if commit else "no commit"


def _scored_alike(side: Side) -> bool:
    """Whether both sides scored the same triples; a night that scored none is judged, and found lacking."""
    assert side.baseline is not None
    return not side.evidence.seeds or side.evidence.triples == side.baseline.evidence.triples


def _pair(side: Side) -> Pair:
    assert side.baseline is not None
    return Pair(side.name, side.baseline.seeds, side.evidence.seeds)
