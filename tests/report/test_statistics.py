"""The statistics against scipy's own answers and simulations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sweeplora.report.critical_values import of_range, ryan
from sweeplora.report.statistics import (
    ALPHA,
    Cells,
    compare,
    early_alpha,
    holm,
    log_ratios,
    paired_t,
    signed_rank,
)

SEEDS, TRIPLES = 5, 24
NOISE = 0.005


def study(random: np.random.Generator, effects: list[float], seeds: int = SEEDS, noise: float = NOISE) -> Cells:
    """Trainings of points that differ by `effects` in log(loss): noise of seeds, of triples, and of each training."""
    base = random.uniform(-4, 0, TRIPLES)
    shared = random.normal(0, 0.02, (seeds, 1)) + random.normal(0, 0.03, (seeds, TRIPLES))
    table = {}
    for point, effect in enumerate(effects):
        own = effect + random.normal(0, noise, (seeds, 1)) + random.normal(0, 0.01, (seeds, TRIPLES))
        table[point] = {seed: np.exp(base + shared[seed] + own[seed]) for seed in range(seeds)}
    return table


def called_worse(cells: Cells, search_seed: int | None = None) -> set[int]:
    return {other.point for other in compare(cells, search_seed).others if other.separable}


def test_equal_points_are_called_different_in_at_most_five_of_a_hundred_studies() -> None:
    random = np.random.default_rng(1)
    wrong = sum(bool(called_worse(study(random, [0.0] * 6))) for _ in range(400))
    assert wrong <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_equal_points_beside_worse_ones_are_called_different_in_at_most_five_of_a_hundred_studies() -> None:
    random = np.random.default_rng(11)
    wrong = sum(bool(called_worse(study(random, [0.0] * 3 + [0.3] * 2)) & {0, 1, 2}) for _ in range(400))
    assert wrong <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_a_point_that_is_told_from_the_best_makes_the_next_one_easier_to_tell() -> None:
    cells = study(np.random.default_rng(12), [0.0, 0.0, 0.0, 0.3])
    found = compare(cells)
    alone = compare({point: cells[point] for point in range(3)})
    assert found.not_separable == alone.not_separable
    leasts = {other.point: other.least / other.error for other in found.others}
    best = found.best
    assert {leasts[point] for point in range(3) if point != best} == {ryan(3, 4, found.noise.freedom, ALPHA)}
    assert leasts[3] == pytest.approx(of_range(4, found.noise.freedom, ALPHA))
    assert found.detectable < max(other.error for other in found.others) * (leasts[3] + 1.4)


@pytest.mark.parametrize("freedom", [4, 12, math.inf])
def test_the_fewer_points_are_left_the_less_is_needed(freedom: float) -> None:
    critical = [ryan(left, 6, freedom, ALPHA) for left in range(2, 7)]
    assert critical == sorted(critical)
    assert critical[-1] == of_range(6, freedom, ALPHA)


def test_choosing_the_best_few_at_one_seed_makes_no_difference_look_real() -> None:
    random = np.random.default_rng(2)
    wrong = 0
    for _ in range(400):
        cells = study(random, [0.0] * 12)
        best = sorted(cells, key=lambda point: float(cells[point][0].mean()))[:3]
        confirmed = {point: seeds if point in best else {0: seeds[0]} for point, seeds in cells.items()}
        wrong += bool(called_worse(confirmed, search_seed=0))
    assert wrong <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_a_difference_of_two_percent_is_found_at_five_seeds() -> None:
    random = np.random.default_rng(3)
    found = sum({1, 2} == called_worse(study(random, [0.0, 0.02, 0.02])) for _ in range(200))
    assert found >= 0.9 * 200


def test_the_detectable_difference_is_found_as_often_as_it_says() -> None:
    random = np.random.default_rng(4)
    detectable = np.mean([compare(study(random, [0.0, 0.0, 0.5])).detectable for _ in range(60)])
    found = sum(1 in called_worse(study(random, [0.0, float(detectable), 0.5])) for _ in range(200))
    assert 0.8 <= found / 200 <= 0.97


def test_looking_after_every_seed_keeps_the_error_rate() -> None:
    random = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        cells = study(random, [0.0] * 3, seeds=6)
        looks = ({p: {s: x for s, x in seeds.items() if s < n} for p, seeds in cells.items()} for n in range(2, 7))
        wrong += any(
            any(other.separable for other in compare(seen, None, early_alpha(look, 5)).others)
            for look, seen in enumerate(looks, 1)
        )
    assert wrong <= 200 * 0.05 + 2 * math.sqrt(200 * 0.05 * 0.95)


def test_one_seed_calls_nothing_different_that_another_seed_could_undo() -> None:
    losses = {0: 0.100, 1: 0.1002, 2: 0.15}
    found = compare({point: {0: np.array([loss])} for point, loss in losses.items()})
    assert (found.best, found.not_separable, found.measured) == (0, (1,), False)
    assert [round(other.difference, 4) for other in found.others] == [0.002, 0.4055]


def test_noise_between_seeds_leaves_out_what_a_seed_does_to_every_point() -> None:
    random = np.random.default_rng(6)
    noise = compare(study(random, [0.0, 0.3] * 10, seeds=20)).noise
    assert noise.freedom == 9 * 19
    assert NOISE < noise.deviation < 1.4 * NOISE  # each triple has noise of its own too; 0.02 is shared


def test_points_that_hardly_learn_do_not_make_the_noise_look_small() -> None:
    random = np.random.default_rng(10)
    wrong = 0
    for _ in range(100):
        calm = study(random, [0.5] * 10, noise=0)
        near = study(random, [0.0] * 4, noise=0.02)
        wrong += any(point < 4 for point in called_worse({**near, **{4 + p: seeds for p, seeds in calm.items()}}))
    assert wrong <= 100 * 0.05 + 2 * math.sqrt(100 * 0.05 * 0.95)


def test_points_with_fewer_seeds_are_compared_over_those_that_they_have() -> None:
    cells = {p: dict(seeds) for p, seeds in study(np.random.default_rng(7), [0.0, 0.001, 0.2]).items()}
    for seed in (2, 3, 4):
        del cells[2][seed]
    others = {other.point: other for other in compare(cells).others}
    assert (others[2].seeds, others[2].separable, others[1].seeds, others[1].separable) == (2, True, 5, False)
    assert others[2].error > others[1].error


def test_a_difference_that_one_triple_makes_is_not_called_real() -> None:
    random = np.random.default_rng(8)
    cells = study(random, [0.0, 0.0, 0.0], noise=1e-4)
    for losses in cells[1].values():
        losses[int(np.argmax(losses))] *= 2
    found = {other.point: other for other in compare(cells).others}
    worst = max(found.values(), key=lambda other: other.difference)
    assert worst.difference > worst.least and not worst.separable


def test_holm_orders_and_caps_as_in_his_paper() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_tests_over_triples_are_those_of_scipy() -> None:
    from scipy.stats import ttest_rel, wilcoxon

    random = np.random.default_rng(9)
    one = random.uniform(0.1, 1, 40)
    other = one * np.exp(random.normal(0.01, 0.02, 40))
    assert signed_rank(one, other) == pytest.approx(wilcoxon(np.log(other / one), alternative="greater").pvalue)
    wanted = ttest_rel(np.log(other), np.log(one), alternative="greater").pvalue
    assert paired_t(log_ratios(one, other)) == pytest.approx(wanted)
    assert signed_rank(other, one) > 0.5 > signed_rank(one, other)
    assert (signed_rank(one, one), paired_t(log_ratios(one, one))) == (1.0, 1.0)
    assert paired_t(log_ratios(one, one * 1.1)) == pytest.approx(0.0)


def test_losses_of_different_triples_are_refused() -> None:
    with pytest.raises(ValueError, match="different triples"):
        log_ratios(np.ones(3), np.ones(4))


@pytest.mark.parametrize("alpha", [0.04, 0.008])
@pytest.mark.parametrize("points", [2, 5, 24, 200])
def test_with_the_noise_known_from_elsewhere_the_least_difference_is_scipys(points: int, alpha: float) -> None:
    from scipy.stats import norm, studentized_range

    cells = {point: {0: np.array([1.0 + point])} for point in range(points)}
    found = compare(cells, alpha=alpha)
    error = found.noise.deviation * math.sqrt(2)
    critical = studentized_range.isf(alpha, points, np.inf) / math.sqrt(2)
    assert found.others[0].least == pytest.approx(error * critical, rel=1e-5)
    assert found.detectable == pytest.approx(error * (critical + norm.ppf(0.9)), rel=1e-5)
