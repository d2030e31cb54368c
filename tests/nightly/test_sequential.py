"""A commit is told good from bad with the promised errors, by two seeds where the difference is clear."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sweeplora.nightly.sequential import Scale, evidence, kind_of, scale_of, step_p

BAD = [0.050, 0.055, 0.048, 0.052, 0.051]


def test_evidence_is_the_ratio_of_two_normal_likelihoods() -> None:
    from scipy.stats import norm

    scale, values = Scale(0.05, 0.02), [0.01, 0.06, 0.03]
    expected = norm.logpdf(values, 0.05, 0.02).sum() - norm.logpdf(values, 0, 0.02).sum()
    assert evidence(values, scale) == pytest.approx(expected)


def test_two_seeds_decide_a_clear_commit_and_one_seed_none() -> None:
    scale = scale_of(BAD)
    assert scale is not None
    assert [kind_of(BAD[:count], scale) for count in (1, 2)] == ["open", "bad"]
    assert [kind_of([0.0] * count, scale) for count in (1, 2)] == ["open", "good"]
    assert kind_of([scale.effect / 2] * 5, scale) == "open"


def test_a_bad_that_is_not_worse_gives_no_scale() -> None:
    assert scale_of([0.0] * 5) is None
    assert scale_of([-0.01, 0.02, -0.015, 0.01, 0.0]) is None


def test_a_divergence_is_bad_at_once() -> None:
    scale = scale_of([math.inf] * 5)
    assert scale is not None
    assert kind_of([math.inf], scale) == "bad"
    assert kind_of([0.0, 0.0], scale) == "good"


@pytest.mark.parametrize("truth", [0.0, 0.05])
def test_errors_stay_within_the_promised_rate_where_seeds_are_noisy(truth: float) -> None:
    random, scale, wrong = np.random.default_rng(1), Scale(0.05, 0.03), 0
    for _ in range(2000):
        values, kind = [float(random.normal(truth, 0.03))], "open"
        while kind == "open":
            values.append(float(random.normal(truth, 0.03)))
            kind = kind_of(values, scale)
        wrong += kind != ("bad" if truth else "good")
    assert wrong / 2000 < 0.012  # Wald's bound is 0.01


def test_p_of_the_step_is_the_paired_t_tests() -> None:
    before, after = [0.001, -0.002, 0.0, 0.003, -0.001], BAD
    assert step_p(before, after) == pytest.approx(ttest_rel(after, before, alternative="greater").pvalue)
    assert step_p(before, [*BAD[:4], math.inf]) == 0.0
