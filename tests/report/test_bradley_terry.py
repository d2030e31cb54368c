"""Strengths of compared items, against scipy's own optimum, finite differences and simulated people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from sweeplora.report.bradley_terry import PRIOR, Outcome, expected_information, fit, probabilities

TIE = 0.5


def simulated(theta: np.ndarray, count: int, seed: int) -> list[Outcome]:
    """`count` comparisons of random pairs by a person of these strengths, who calls equal ones a tie once in five."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        i, j = random.choice(len(theta), 2, replace=False)
        d = theta[i] - theta[j]
        weights = np.array([math.exp(d / 2), math.exp(-d / 2), TIE])
        found.append(Outcome(int(i), int(j), (1, -1, 0)[random.choice(3, p=weights / weights.sum())]))
    return found


def loss(parameters: np.ndarray, outcomes: list[Outcome]) -> float:
    """The negative log posterior, comparison by comparison, as Davidson (1970) writes it with pi and nu."""
    pi, nu = np.exp(parameters[:-1]), math.exp(parameters[-1])
    total = float((parameters[:-1] ** 2).sum()) / (2 * PRIOR**2) + (parameters[-1] - math.log(TIE)) ** 2 / 2
    for one, other, result in outcomes:
        tied = nu * math.sqrt(pi[one] * pi[other])
        happened = {1: pi[one], -1: pi[other], 0: tied}[result]
        total -= math.log(happened / (pi[one] + pi[other] + tied))
    return total


def test_the_strengths_are_the_optimum_that_scipy_finds_and_the_covariance_its_curvature() -> None:
    outcomes = simulated(np.array([1.0, 0.0, -1.0, 0.4, -0.6]), 40, 3)
    found = fit(5, outcomes)
    best = minimize(loss, np.zeros(6), (outcomes,), method="BFGS", options={"gtol": 1e-7})
    assert found.theta == pytest.approx(best.x[:5], abs=1e-5)
    assert found.tie == pytest.approx(best.x[5], abs=1e-5)
    step, at = 1e-3, np.append(found.theta, found.tie)
    hessian = np.zeros((6, 6))
    for i in range(6):
        for j in range(6):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            values = [loss(at + step * (a * np.eye(6)[i] + b * np.eye(6)[j]), outcomes) for a, b in signs]
            hessian[i, j] = (values[0] - values[1] - values[2] + values[3]) / (4 * step**2)
    assert found.covariance == pytest.approx(np.linalg.inv(hessian)[:5, :5], rel=1e-3, abs=1e-5)


def test_the_odds_of_two_items_are_their_wins_where_the_prior_is_weak() -> None:
    outcomes = [Outcome(0, 1, 1)] * 30 + [Outcome(0, 1, -1)] * 10 + [Outcome(0, 1, 0)] * 9
    difference, error = fit(2, outcomes, prior=100.0).difference(0, 1)
    assert difference == pytest.approx(math.log(3), abs=0.02)  # a saturated model: 30 to 10
    assert error == pytest.approx(math.sqrt(1 / 30 + 1 / 10), rel=0.05)  # of a log odds ratio, by the delta method


def test_an_item_that_won_everything_has_a_finite_strength_and_a_wide_interval() -> None:
    found = fit(3, [Outcome(0, 1, 1), Outcome(0, 2, 1)])
    mean, error = found.against_average(0)
    assert 0.5 < mean < 4 and 1 < error < 2.5
    assert fit(3, []).theta == pytest.approx([0, 0, 0])
    assert fit(3, []).difference(0, 1) == pytest.approx((0.0, PRIOR * math.sqrt(2)))


def test_sides_and_their_order_do_not_matter() -> None:
    outcomes = simulated(np.array([0.5, 0.0, -0.5]), 20, 1)
    turned = [Outcome(one.second, one.first, -one.result) for one in reversed(outcomes)]
    assert fit(3, turned).theta == pytest.approx(fit(3, outcomes).theta, abs=1e-9)


def test_intervals_of_95_per_cent_cover_the_truth_as_often() -> None:
    covered = total = 0
    for seed in range(120):
        theta = np.random.default_rng(seed).normal(0, 1.0, 6)
        found = fit(6, simulated(theta, 60, seed))
        for i, j in ((0, 1), (2, 3), (4, 5)):
            mean, error = found.difference(i, j)
            covered += abs(mean - (theta[i] - theta[j])) < 1.96 * error
            total += 1
    assert 0.92 < covered / total < 0.985  # 360 intervals; the standard error of their share is 0.011


def test_the_chance_of_being_the_best_is_that_of_the_normal_distribution() -> None:
    found = fit(2, [Outcome(0, 1, 1)] * 3)
    mean, error = found.difference(0, 1)
    assert found.best_chances()[0] == pytest.approx(0.5 * math.erfc(-mean / error / math.sqrt(2)), abs=0.02)


def test_open_pairs_tell_more_than_settled_ones() -> None:
    found = fit(4, [*[Outcome(0, 1, 1)] * 12, *[Outcome(0, 1, -1)] * 1, Outcome(2, 3, 0)])
    first, second = np.array([0, 2, 0]), np.array([1, 3, 2])
    settled, tied, unknown = expected_information(found, first, second)
    assert unknown > tied > settled > 0
    # One answer of three kinds cannot tell more than log 3, and the two-sided integral agrees with plain sampling.
    mean, error = found.difference(0, 2)
    drawn = probabilities(np.random.default_rng(0).normal(mean, error, 200_000), found.tie)
    average = drawn.mean(axis=0)
    expected = -(average * np.log(average)).sum() + (drawn * np.log(drawn)).sum(axis=1).mean()
    assert unknown == pytest.approx(expected, rel=0.02) and unknown < math.log(3)
