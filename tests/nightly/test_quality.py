"""The quality gate on arrays, against scipy's own tests."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.quality import Pair, Rules, judge_quality, least_that_counts, spread
from sweeplora.report.statistics import Losses

SEEDS, TRIPLES = 10, 64
Side = dict[int, dict[str, Losses]]


def baseline(deviation: float = 0.01, seed: int = 0) -> Side:
    """Ten trainings whose losses differ by triple a lot, and by seed a little."""
    random = np.random.default_rng(seed)
    triples = np.exp(random.normal(-2, 0.7, TRIPLES))
    luck = random.normal(0, deviation, SEEDS)
    return {
        one: {"val/loss": triples * math.exp(luck[one]) * np.exp(random.normal(0, 0.02, TRIPLES))}
        for one in range(SEEDS)
    }


def times(side: Side, factor: float, seeds: int = 5, noise: float = 0.0, seed: int = 1) -> Side:
    random = np.random.default_rng(seed)
    return {
        one: {
            metric: losses * factor * math.exp(random.normal(0, noise)) * np.exp(random.normal(0, noise, losses.shape))
            for metric, losses in side[one].items()
        }
        for one in range(seeds)
    }


def judged(there: Mapping[int, Mapping[str, Losses]], here: Mapping[int, Mapping[str, Losses]]) -> Criterion:
    (found,) = judge_quality([Pair("locon", there, here)], Rules())
    return found


def test_the_same_losses_pass_with_a_change_of_exactly_zero() -> None:
    there = baseline()
    found = judged(there, times(there, 1.0))
    assert (found.verdict, found.effect, found.p, found.interval) == (Verdict.PASS, 0.0, 1.0, (0.0, 0.0))


def test_the_numbers_are_those_of_scipy() -> None:
    there = baseline()
    here = times(there, 1.05, noise=0.01)
    found = judged(there, here)
    before = np.array([there[one]["val/loss"].mean() for one in range(5)])
    after = np.array([here[one]["val/loss"].mean() for one in range(5)])
    over_seeds = stats.ttest_rel(np.log(after), np.log(before), alternative="greater")
    ratios = np.mean([np.log(here[one]["val/loss"] / there[one]["val/loss"]) for one in range(5)], axis=0)
    over_triples = stats.wilcoxon(ratios, alternative="greater").pvalue
    assert found.verdict is Verdict.REGRESSED
    assert found.p == pytest.approx(over_seeds.pvalue)
    assert f"over triples {over_triples:.2g}" in found.sentence
    low, high = stats.ttest_rel(np.log(after), np.log(before)).confidence_interval(0.9)
    assert found.interval == pytest.approx((math.expm1(low), math.expm1(high)))
    assert found.effect == pytest.approx(math.expm1(np.log(after / before).mean()))


def test_a_small_change_is_no_regression_however_certain() -> None:
    there = baseline(deviation=0.001)
    found = judged(there, times(there, 1.003))
    assert found.verdict is Verdict.PASS
    assert found.p is not None and found.p < 1e-6
    assert found.limit == pytest.approx(0.01)


def test_twice_the_spread_of_two_halves_of_the_baseline_is_the_limit_where_luck_does_more_than_one_percent() -> None:
    means = [0.1, 0.13, 0.09, 0.12, 0.11, 0.14, 0.08, 0.1, 0.12, 0.15]
    random = np.random.default_rng(3)
    drawn = [random.permutation(means) for _ in range(40_000)]
    halves = np.std([one[:5].mean() - one[5:].mean() for one in drawn])
    assert spread(means, 5) == pytest.approx(halves, rel=0.02)
    assert least_that_counts(means, 5) == pytest.approx(2 * halves, rel=0.02)
    there = baseline(deviation=0.03)
    limit = judged(there, times(there, 1.0)).limit
    assert limit is not None and limit > 0.02
    assert judged(there, times(there, 1 + 0.9 * limit)).verdict is Verdict.PASS
    assert judged(there, times(there, 1 + 1.1 * limit)).verdict is Verdict.REGRESSED
    assert judged(there, times(there, 1 - 1.2 * limit)).verdict is Verdict.IMPROVED


def test_a_large_change_that_seeds_do_not_agree_on_is_inconclusive() -> None:
    there = baseline(deviation=0.001)
    here = times(there, 1.0)
    here[2] = {"val/loss": here[2]["val/loss"] * 1.3}
    assert judged(there, here).verdict is Verdict.INCONCLUSIVE


def test_a_change_of_a_few_pictures_alone_is_not_called_a_regression() -> None:
    there = baseline(deviation=0.001)
    here = times(there, 1.0)
    for losses in here.values():
        losses["val/loss"][:3] *= 3
    found = judged(there, here)
    assert found.effect is not None and found.effect > 0.01
    assert found.verdict is Verdict.INCONCLUSIVE


def test_holm_corrects_over_configurations_and_metrics() -> None:
    there = {one: {**losses, "probe/loss": losses["val/loss"][:1]} for one, losses in baseline().items()}
    pairs = [Pair(name, there, times(there, 1.02, noise=0.012, seed=place)) for place, name in enumerate("abcd")]
    found = judge_quality(pairs, Rules(("val/loss", "probe/loss")))
    p = [one.p for one in found if one.p is not None]
    assert len(found) == len(p) == 8
    order = np.argsort(p)
    expected, largest = np.empty(8), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p[index] * (8 - rank)))
        expected[index] = largest
    assert [one.corrected for one in found] == pytest.approx(expected)


def test_a_first_look_spends_its_share_only() -> None:
    there = baseline()
    (whole,) = judge_quality([Pair("a", there, times(there, 1.05, noise=0.02))], Rules())
    (first,) = judge_quality([Pair("a", there, times(there, 1.05, noise=0.02))], Rules(share=0.8))
    assert whole.corrected is not None and first.corrected == pytest.approx(whole.corrected / 0.8)


def test_what_has_no_number_never_passes() -> None:
    there = baseline()
    spoilt = times(there, 1.0)
    spoilt[3]["val/loss"][7] = math.nan
    assert judged(there, spoilt).verdict is Verdict.REGRESSED
    missing = times(there, 1.0)
    del missing[3]["val/loss"]
    assert judged(there, missing).verdict is Verdict.INFRA
    assert judged(there, times(there, 1.0, seeds=4)).verdict is Verdict.INFRA
    assert judged({one: there[one] for one in range(4)}, times(there, 1.0)).verdict is Verdict.NO_BASELINE
    other = {one: {"val/loss": losses["val/loss"][:9]} for one, losses in there.items()}
    assert judged(other, times(there, 1.0)).verdict is Verdict.NO_BASELINE
    nothing = times(there, 0.0)
    assert judged(there, nothing).verdict is Verdict.REGRESSED
