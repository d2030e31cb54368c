"""Strengths from comparisons in pairs with ties: Bradley and Terry (1952), ties after Davidson (1970).

    P(i wins) : P(j wins) : P(tie)  =  exp(d / 2) : exp(-d / 2) : nu,    d = theta_i - theta_j

The strengths theta and log(nu) are the mode under a weak normal prior, which keeps a trial that won or lost all of its
comparisons finite; their covariance is the inverse of the Hessian there (Laplace). Arrays in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIOR = 2.0
"""Standard deviation of a strength: two trials one of which wins 16 of 17 decided comparisons are nothing unusual."""

_TIE_MODE, _TIE_SPREAD = math.log(0.5), 1.0
"""The prior of log(nu): equal trials tie once in five, give or take a factor of e."""

_STEPS, _CLOSE = 100, 1e-10
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


class Outcome(NamedTuple):
    """One comparison of items `first` and `second`: 1 if the first won, -1 if the second did, 0 for a tie."""

    first: int
    second: int
    result: int


@dataclass(frozen=True)
class Strengths:
    """`theta` [n], log odds against an average item (their mean is 0); `covariance` [n, n]; `tie` is log(nu)."""

    theta: Array
    covariance: Array
    tie: float

    def difference(self, one: int, other: int) -> tuple[float, float]:
        """theta_one - theta_other and its standard error."""
        c = self.covariance
        variance = float(c[one, one] + c[other, other] - 2 * c[one, other])
        return float(self.theta[one] - self.theta[other]), math.sqrt(max(variance, 0.0))

    def against_average(self, item: int) -> tuple[float, float]:
        """theta_item - mean(theta) and its standard error."""
        contrast = np.full(len(self.theta), -1 / len(self.theta))
        contrast[item] += 1
        variance = float(contrast @ self.covariance @ contrast)
        return float(contrast @ self.theta), math.sqrt(max(variance, 0.0))

    def best_chances(self, draws: int = 4000, seed: int = 0) -> Array:
        """For each item the probability that it is the strongest [n], by draws from the normal approximation."""
        values, vectors = np.linalg.eigh(self.covariance)
        factor = vectors * np.sqrt(np.clip(values, 0, None))
        drawn = self.theta + np.random.default_rng(seed).standard_normal((draws, len(self.theta))) @ factor.T
        counts = np.bincount(drawn.argmax(axis=1), minlength=len(self.theta))
        chances: Array = counts / draws
        return chances


def fit(num: int, outcomes: Sequence[Outcome], prior: float = PRIOR) -> Strengths:
    """The strengths of `num` items, by Newton's method; without outcomes all are 0 with the prior's spread."""
    parameters = np.zeros(num + 1)
    parameters[num] = _TIE_MODE
    value, gradient, hessian = _posterior(parameters, outcomes, prior)
    for _ in range(_STEPS):
        if np.abs(gradient).max() < _CLOSE:
            break
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and _posterior(parameters - size * step, outcomes, prior)[0] > value + 1e-12 * abs(value):
            size /= 2
        parameters = parameters - size * step
        value, gradient, hessian = _posterior(parameters, outcomes, prior)
    covariance = np.asarray(np.linalg.inv(hessian), np.float64)
    return Strengths(parameters[:num], covariance[:num, :num], float(parameters[num]))


def probabilities(difference: Array, tie: float) -> Array:
    """P(first wins), P(second wins), P(tie) for each difference of strengths: [..., 3]."""
    scores = np.stack([difference / 2, -difference / 2, np.full_like(difference, tie)], axis=-1)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Array = scores / scores.sum(axis=-1, keepdims=True)
    return found


def expected_information(strengths: Strengths, first: NDArray[np.int64], second: NDArray[np.int64]) -> Array:
    """How much one more comparison of each pair is expected to tell about the strengths, in nats [pairs].

    The mutual information of the outcome and the difference (Lindley 1956): the entropy of the outcome less its mean
    entropy were the difference known. Large where a difference is uncertain and the outcome is open.
    """
    c = strengths.covariance
    variance = c[first, first] + c[second, second] - 2 * c[first, second]
    mean = strengths.theta[first] - strengths.theta[second]
    nodes = mean[:, None] + np.sqrt(np.clip(variance, 0, None))[:, None] * _NODES
    weights = _WEIGHTS / _WEIGHTS.sum()
    chances = probabilities(nodes, strengths.tie)
    of_mean = _entropy(np.einsum("pnk,n->pk", chances, weights))
    found: Array = of_mean - _entropy(chances) @ weights
    return found


def _entropy(chances: Array) -> Array:
    found: Array = -(chances * np.log(np.clip(chances, 1e-300, None))).sum(axis=-1)
    return found


def _posterior(parameters: Array, outcomes: Sequence[Outcome], prior: float) -> tuple[float, Array, Array]:
    """Negative log posterior (up to a constant), its gradient [n + 1] and Hessian [n + 1, n + 1]."""
    num = len(parameters) - 1
    theta, tie = parameters[:num], float(parameters[num])
    gradient = np.append(theta / prior**2, (tie - _TIE_MODE) / _TIE_SPREAD**2)
    hessian = np.diag(np.append(np.full(num, 1 / prior**2), 1 / _TIE_SPREAD**2))
    value = float(theta @ theta) / (2 * prior**2) + (tie - _TIE_MODE) ** 2 / (2 * _TIE_SPREAD**2)
    if not outcomes:
        return value, gradient, hessian
    first, second, result = np.array(outcomes).T
    chances = probabilities(theta[first] - theta[second], tie)
    happened = np.where(result > 0, 0, np.where(result < 0, 1, 2))
    value -= float(np.log(chances[np.arange(len(outcomes)), happened]).sum())
    won, lost, tied = chances.T
    # The sufficient statistics are half the sign of the result, which goes with d, and whether it is a tie.
    half = (won - lost) / 2
    slope = half - result / 2
    np.add.at(gradient, first, slope)
    np.add.at(gradient, second, -slope)
    gradient[num] += float((tied - (result == 0)).sum())
    curvature, mixed = (won + lost) / 4 - half**2, -half * tied
    for i, j, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
        np.add.at(hessian, (i, j), sign * curvature)
    for i, sign in ((first, 1), (second, -1)):
        np.add.at(hessian[num], i, sign * mixed)
        np.add.at(hessian[:, num], i, sign * mixed)
    hessian[num, num] += float((tied * (1 - tied)).sum())
    return value, gradient, hessian
