"""Did quality get worse? Paired tests of a night against its baseline: losses in, criteria out, no files.

Trainings are paired by seed, and their losses by validation triple: with the same seed, both sides see the same initial
weights, order, timesteps and noise, so that identical code gives identical losses and a difference of exactly 0.
Differences are in log(loss) inside and relative outside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.report.statistics import Losses, holm, log_ratios, paired_t, signed_rank
from sweeplora.report.words import number

OBJECTIVE = "val/loss"
ALPHA = 0.05
LEAST_CHANGE = 0.01
"""A smaller relative change is never called a regression, however certain."""

_SPREADS = 2.0
"""Nor is one within so many spreads of A/A."""

_CONFIDENCE = 0.9
"""Of the interval: its lower end is that of the one-sided test at 5 %."""

FIRST_SHARE = 0.8
"""Of ALPHA, what the first look may spend where a second with more seeds can follow; the second has the rest."""

Seeds = Mapping[int, Mapping[str, Losses]]
"""Seed -> metric -> losses of the validation triples [T], or one number [1]."""


@dataclass(frozen=True)
class Pair:
    """One configuration on both sides: seed -> metric -> losses."""

    configuration: str
    baseline: Seeds
    now: Seeds


@dataclass(frozen=True)
class Rules:
    """What is judged: `metrics`, the objective first; `share` of ALPHA that this look at the data may spend."""

    metrics: Sequence[str] = (OBJECTIVE,)
    fewest: int = 5
    share: float = 1.0


class _Found(NamedTuple):
    """What one metric of one configuration shows. `effects` of the seeds in log(loss), worse is positive.

    `worse`, `better`: one-sided p over the seeds. `over_triples`: the same two over the validation triples, None where
    there is one number alone.
    """

    seeds: int
    baseline: float
    now: float
    effects: Losses
    limit: float
    worse: float
    better: float
    over_triples: tuple[float, float] | None

    @property
    def effect(self) -> float:
        """The mean change in log(loss)."""
        return float(self.effects.mean())


def spread(means: Sequence[float], seeds: int) -> float:
    """The spread of A/A: by how much the means of two disjoint groups of `seeds` of these trainings differ by luck.

    `means`: log(loss) of every seed of one code. The standard deviation over all ways to draw the two groups without
    putting back is s sqrt(2 / seeds), where s is the sample's deviation: exact, and half of a draw that pairs nothing.
    """
    return float(np.std(np.asarray(means, float), ddof=1)) * math.sqrt(2 / seeds)


def least_that_counts(means: Sequence[float], seeds: int) -> float:
    """The limit in log(loss): max(1 %, twice the spread of A/A)."""
    return max(math.log1p(LEAST_CHANGE), _SPREADS * spread(means, seeds))


def judge_quality(pairs: Sequence[Pair], rules: Rules) -> list[Criterion]:
    """A criterion for every metric of every configuration.

    REGRESSED: the mean change exceeds the limit, the one-sided p over the seeds, by Holm over all of them, is below
    0.05, and so is the one over the triples: most pictures show it, not a few. IMPROVED: the same on the other side.
    INCONCLUSIVE: the change exceeds the limit, and a p does not follow. What has no number on one side is INFRA (here)
    or NO_BASELINE (there), what is not finite here is REGRESSED: neither passes.
    """
    settled: dict[tuple[str, str], Criterion] = {}
    found: dict[tuple[str, str], _Found] = {}
    for pair in pairs:
        for metric in rules.metrics:
            place = (pair.configuration, metric)
            outcome = _compared(pair, metric, rules.fewest)
            if isinstance(outcome, Criterion):
                settled[place] = outcome
            else:
                found[place] = outcome
    worse = holm([one.worse for one in found.values()])
    better = holm([one.better for one in found.values()])
    for (place, one), high, low in zip(found.items(), worse, better, strict=True):
        corrected = (min(1.0, high / rules.share), min(1.0, low / rules.share))
        settled[place] = _criterion(place, one, corrected)
    return [settled[pair.configuration, metric] for pair in pairs for metric in rules.metrics]


def _compared(pair: Pair, metric: str, fewest: int) -> _Found | Criterion:
    """The numbers of one metric, or the criterion that says why there are none."""
    here = {seed: values[metric] for seed, values in pair.now.items() if metric in values}
    there = {seed: values[metric] for seed, values in pair.baseline.items() if metric in values}
    shared = sorted(here.keys() & there.keys())

    def without(verdict: Verdict, sentence: str) -> Criterion:
        return Criterion(pair.configuration, metric, verdict, sentence, seeds=len(shared))

    spoilt = [seed for seed, losses in here.items() if not np.all(np.isfinite(losses))]
    if spoilt:
        return without(Verdict.REGRESSED, f"is not finite with seed {_listed(spoilt)}")
    if len(here) < fewest:
        lacking = f"; missing with seed {_listed(pair.now.keys() - here.keys())}" if pair.now.keys() - here else ""
        return without(Verdict.INFRA, f"measured with {len(here)} seeds, {fewest} are needed{lacking}")
    if len(shared) < fewest:
        return without(Verdict.NO_BASELINE, f"the baseline has {len(shared)} of these seeds, {fewest} are needed")
    if any(here[seed].shape != there[seed].shape for seed in shared):
        return without(Verdict.NO_BASELINE, "the baseline has other validation triples")
    if any(np.any(losses <= 0) for seed in shared for losses in (here[seed], there[seed])):
        return without(Verdict.REGRESSED, "is not above 0, so that no relative change can be told")
    return _measure([there[seed] for seed in shared], [here[seed] for seed in shared], list(there.values()))


def _measure(there: Sequence[Losses], here: Sequence[Losses], every: Sequence[Losses]) -> _Found:
    """Compare pairs of trainings; `every`: all of the baseline's, whose spread says what luck does."""
    effects = np.log([float(losses.mean()) for losses in here]) - np.log([float(losses.mean()) for losses in there])
    ratios = [log_ratios(one, other) for one, other in zip(there, here, strict=True)]
    return _Found(
        len(here),
        float(np.mean([losses.mean() for losses in there])),
        float(np.mean([losses.mean() for losses in here])),
        effects,
        least_that_counts(np.log([float(losses.mean()) for losses in every]).tolist(), len(here)),
        paired_t(effects),
        paired_t(-effects),
        _over_triples(np.mean(ratios, axis=0)),
    )


def _over_triples(mean: Losses) -> tuple[float, float] | None:
    """The p that the triples' mean log ratios are not above 0, and not below."""
    if len(mean) == 1:
        return None
    ones = np.ones_like(mean)
    return signed_rank(ones, np.exp(mean)), signed_rank(ones, np.exp(-mean))


def _criterion(place: tuple[str, str], found: _Found, corrected: tuple[float, float]) -> Criterion:
    high, low = corrected
    worse, better = found.over_triples or (0.0, 0.0)
    effect, limit = found.effect, found.limit
    verdict = Verdict.PASS
    if effect > limit:
        verdict = Verdict.REGRESSED if high < ALPHA and worse < ALPHA else Verdict.INCONCLUSIVE
    elif effect < -limit and low < ALPHA and better < ALPHA:
        verdict = Verdict.IMPROVED
    p, shown = (found.better, low) if verdict is Verdict.IMPROVED else (found.worse, high)
    tested = better if verdict is Verdict.IMPROVED else worse
    over_triples = "" if found.over_triples is None else f", over triples {tested:.2g}"
    interval = _interval(found.effects)
    change = f"{100 * math.expm1(effect):+.2f} % ({100 * interval[0]:+.2f} to {100 * interval[1]:+.2f})"
    sentence = (
        f"{number(found.baseline)} -> {number(found.now)}, {change}, limit {100 * math.expm1(limit):.2f} %, "
        f"p {p:.2g}, corrected {shown:.2g}{over_triples}, {found.seeds} seeds"
    )
    return Criterion(
        *place,
        verdict,
        sentence,
        baseline=found.baseline,
        now=found.now,
        effect=math.expm1(effect),
        interval=interval,
        p=p,
        corrected=shown,
        limit=math.expm1(limit),
        seeds=found.seeds,
    )


def _interval(effects: Losses) -> tuple[float, float]:
    """The two-sided 90 % interval of the mean relative change, by Student's t over seeds."""
    from scipy.stats import t

    error = float(effects.std(ddof=1)) / math.sqrt(len(effects))
    half = float(t.isf((1 - _CONFIDENCE) / 2, len(effects) - 1)) * error
    mean = float(effects.mean())
    return math.expm1(mean - half), math.expm1(mean + half)


def undecided(criteria: Sequence[Criterion]) -> Iterator[str]:
    """The configurations that more seeds may decide, each once; what REGRESSED by any metric is decided."""
    regressed = {one.configuration for one in criteria if one.verdict is Verdict.REGRESSED}
    open_ = dict.fromkeys(one.configuration for one in criteria if one.verdict is Verdict.INCONCLUSIVE)
    yield from (name for name in open_ if name not in regressed)


def _listed(seeds: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
