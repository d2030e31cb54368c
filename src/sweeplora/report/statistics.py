"""When is a difference between trainings real? Tests over seeds and validation triples; arrays in, numbers out.

All trainings of a study score the same triples (image, timestep, noise), so they are compared triple by triple.
Differences are relative, in log(loss): 0.02 means 2 % worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sweeplora.report.critical_values import of_range, quantile, ryan, step_down

Losses = NDArray[np.float64]
Cells = Mapping[int, Mapping[int, Losses]]
"""Point -> seed -> losses of the validation triples [T], or of the objective alone [1]."""

ALPHA = 0.05
"""Error rate of a verdict: how often any of several equal points is called worse. Replays of real trainings keep it."""

SEED_NOISE = 0.017
"""Standard deviation of log(loss) between seeds of one setting, beyond what the seed does to every setting alike: the
assumption where a study has one seed. Measured on the embedded model: 0.017 after 52 steps of 4 images (rank_alpha),
0.03 after 24 steps of 2 (benchmarks/replicates.npz), after 128 steps of 4 0.016, and 0.0074 at rates at which trainings
are stable (benchmarks/replicates_long.npz)."""

_SHARE_OF_THE_SEARCH = 0.2
"""Of the error rate, what comparing at the search's own seed may spend where the best few were trained again."""

_NEAR = 0.1
_FEWEST_FOR_NOISE = 3
"""The noise between seeds is pooled over the points within a tenth of the best, or over the three best."""

_TINY = 1e-12
"""Standard errors below this are rounding."""

_EARLY = 0.001
"""Error rate of every look before the last one (Haybittle 1971; Peto et al. 1976): early looks hardly cost anything."""


class Noise(NamedTuple):
    """Standard deviation of log(loss) between seeds of one setting, and its degrees of freedom (infinite: assumed)."""

    deviation: float
    freedom: float


@dataclass(frozen=True)
class Comparison:
    """A point against the best: `difference` in log(loss), its standard error, and the least that would count.

    `seeds`: over how many seeds the two were compared.
    """

    point: int
    difference: float
    error: float
    least: float
    seeds: int
    separable: bool


@dataclass(frozen=True)
class Comparisons:
    """All points against the best one, and how large a difference this could have seen at all.

    `detectable`: the smallest true difference in log(loss) that is found nine times out of ten.
    """

    best: int
    noise: Noise
    measured: bool
    detectable: float
    others: tuple[Comparison, ...]

    @property
    def not_separable(self) -> tuple[int, ...]:
        """The points that cannot be told from the best."""
        return tuple(other.point for other in self.others if not other.separable)


def log_ratios(one: Losses, other: Losses) -> Losses:
    """log(other / one) of each triple: positive where `other` is worse. Raises ValueError for different triples."""
    if one.shape != other.shape:
        raise ValueError(f"losses of different triples: {one.shape} and {other.shape}")
    ratios: Losses = np.log(other) - np.log(one)
    return ratios


def signed_rank(one: Losses, other: Losses) -> float:
    """The one-sided p of Wilcoxon's signed rank test (1945) that `other` is not worse than `one`, over triples.

    It answers for these two trainings only: another seed is another training.
    """
    from scipy.stats import wilcoxon

    ratios = log_ratios(one, other)
    if not np.any(ratios):
        return 1.0
    return float(wilcoxon(ratios, alternative="greater").pvalue)


def paired_t(differences: Sequence[float] | Losses) -> float:
    """The one-sided p of the paired t test that the mean of at least two differences is not above 0."""
    from scipy.stats import t

    found = np.asarray(differences, float)
    deviation = float(found.std(ddof=1))
    if deviation == 0:
        return 0.0 if found[0] > 0 else 1.0
    return float(t.sf(found.mean() / deviation * math.sqrt(len(found)), len(found) - 1))


def holm(values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979): the k-th smallest of n times n - k + 1, kept in order."""
    corrected = [0.0] * len(values)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        largest = max(largest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = largest
    return corrected


def early_alpha(look: int, looks: int, alpha: float = ALPHA) -> float:
    """The error rate of one of several looks at growing data, so that all of them together stay within `alpha`."""
    return _EARLY if look < looks else alpha - _EARLY * (looks - 1)


def compare(cells: Cells, search_seed: int | None = None, alpha: float = ALPHA) -> Comparisons:
    """Compare every point with the best; at least two points. Some equal point is called worse with at most `alpha`.

    The best is chosen from the same data, so the largest difference is judged as the largest of all pairs would be, by
    the studentized range (Tukey 1949; Kramer 1956); where it is real, the next is judged among the points that are
    left, and so on. Points with several seeds are compared over their seeds, and must also be worse over the triples.
    `search_seed`: that seed chose which points were trained again, so their values at it are lucky, and it does not
    count where both points have others.
    """
    again = _trained_again(cells, search_seed)
    fit = _fit(again) if len(again) > 1 else None
    if fit is None:
        return _of_one_seed(cells, alpha)
    rest = {} if search_seed is None else {point: seeds for point, seeds in cells.items() if point not in again}
    spent = alpha * _SHARE_OF_THE_SEARCH if rest else 0.0
    best = min(again, key=lambda point: fit.mean[point])
    statistics = {p: (fit.mean[p] - fit.mean[best]) / max(fit.error(best, p), _TINY) for p in again if p != best}
    needed = step_down(statistics, fit.noise.freedom, alpha - spent)
    others = [_over_seeds(again, fit, (best, point), needed[point]) for point in statistics]
    left = sum(statistics[point] <= needed[point] for point in statistics)
    largest = ryan(max(2, left + 1), len(again), fit.noise.freedom, alpha - spent)
    detectable = max(other.error for other in others) * (largest + quantile(fit.noise.freedom))
    if rest and search_seed is not None:
        at_search = {point: seeds[search_seed] for point, seeds in cells.items() if search_seed in seeds}
        noise = Noise(max(fit.noise.deviation, SEED_NOISE), math.inf)  # a few seeds alone would say next to nothing
        critical = of_range(len(at_search), noise.freedom, spent)
        others += [_at_one_seed(at_search, noise, (best, point), critical) for point in rest if point in at_search]
    return Comparisons(best, fit.noise, True, detectable, _in_order(others))


def means_over_seeds(cells: Cells, search_seed: int | None = None) -> Mapping[int, float]:
    """log(loss) of the points with several seeds, by which `compare` finds the best; empty without any two."""
    again = _trained_again(cells, search_seed)
    fit = _layout(again) if len(again) > 1 else None
    return {} if fit is None else fit.mean


def _of_one_seed(cells: Cells, alpha: float) -> Comparisons:
    """Points with one seed each, judged by the noise that is known from elsewhere."""
    losses: dict[int, Losses] = {point: np.mean(list(seeds.values()), axis=0) for point, seeds in cells.items()}
    noise = Noise(SEED_NOISE, math.inf)
    best = min(losses, key=lambda point: float(losses[point].mean()))
    critical = of_range(len(losses), noise.freedom, alpha)
    others = [_at_one_seed(losses, noise, (best, point), critical) for point in losses if point != best]
    detectable = noise.deviation * math.sqrt(2) * (critical + quantile(noise.freedom))
    return Comparisons(best, noise, False, detectable, _in_order(others))


def _over_seeds(cells: Cells, fit: _Fit, pair: tuple[int, int], critical: float) -> Comparison:
    """One pair over all its seeds."""
    best, point = pair
    difference, error = fit.mean[point] - fit.mean[best], fit.error(best, point)
    shared = sorted(cells[best].keys() & cells[point].keys())
    ratios = [log_ratios(cells[best][seed], cells[point][seed]) for seed in shared]
    is_worse = difference > critical * error and _over_triples(ratios)
    return Comparison(point, difference, error, critical * error, len(shared), is_worse)


def _over_triples(ratios: Sequence[Losses]) -> bool:
    """Whether the mean of the seeds' log ratios is positive over triples, where there are any."""
    if not ratios or len(ratios[0]) == 1:
        return True
    mean: Losses = np.mean(ratios, axis=0)
    return signed_rank(np.ones_like(mean), np.exp(mean)) <= ALPHA


def _at_one_seed(losses: Mapping[int, Losses], noise: Noise, pair: tuple[int, int], critical: float) -> Comparison:
    """One pair at one seed."""
    best, point = pair
    difference = math.log(float(losses[point].mean()) / float(losses[best].mean()))
    error = noise.deviation * math.sqrt(2)
    return Comparison(point, difference, error, critical * error, 1, difference > critical * error)


class _Fit(NamedTuple):
    """log(mean loss) = mean[point] + an effect of the seed; `covariance` of the means, in units of the noise."""

    mean: Mapping[int, float]
    places: Mapping[int, int]
    covariance: NDArray[np.float64]
    noise: Noise

    def error(self, one: int, other: int) -> float:
        """Standard error of the difference of two means."""
        i, j = self.places[one], self.places[other]
        variance = self.covariance[i, i] + self.covariance[j, j] - 2 * self.covariance[i, j]
        return self.noise.deviation * math.sqrt(float(variance))


def _fit(cells: Cells) -> _Fit | None:
    """The two-way layout; None where it leaves nothing to estimate the noise from.

    The noise is that of the points near the best: settings that hardly learn hardly differ between seeds.
    """
    found = _layout(cells)
    if found is None:
        return None
    best = min(found.mean.values())
    ranked = sorted(cells, key=lambda point: found.mean[point])
    near = [point for point in ranked if found.mean[point] < best + _NEAR]
    chosen = max(near, ranked[:_FEWEST_FOR_NOISE], key=len)
    inner = _layout({point: cells[point] for point in chosen})
    return found if inner is None else found._replace(noise=inner.noise)


def _layout(cells: Cells) -> _Fit | None:
    """Least squares over all cells, with the noise of all."""
    places = {point: place for place, point in enumerate(cells)}
    seeds = sorted({seed for of_point in cells.values() for seed in of_point})
    rows = [(point, seed) for point, of_point in cells.items() for seed in of_point]
    design = np.zeros((len(rows), len(places) + len(seeds) - 1))
    for row, (point, seed) in enumerate(rows):
        design[row, places[point]] = 1
        if seed != seeds[0]:
            design[row, len(places) + seeds.index(seed) - 1] = 1
    freedom = len(rows) - int(np.linalg.matrix_rank(design))
    if freedom < 1:
        return None
    y = np.log([float(cells[point][seed].mean()) for point, seed in rows])
    inverse = np.asarray(np.linalg.pinv(design.T @ design), np.float64)
    effects = inverse @ design.T @ y
    residual = y - design @ effects
    noise = Noise(math.sqrt(float(residual @ residual) / freedom), freedom)
    means = {point: float(effects[place]) for point, place in places.items()}
    return _Fit(means, places, inverse, noise)


def _trained_again(cells: Cells, search_seed: int | None) -> Cells:
    """What several seeds say of the points: without the seed that selected them, where one did."""
    if search_seed is None:
        return cells
    others = {p: {seed: x for seed, x in seeds.items() if seed != search_seed} for p, seeds in cells.items()}
    return {point: seeds for point, seeds in others.items() if seeds}


def _in_order(others: Sequence[Comparison]) -> tuple[Comparison, ...]:
    return tuple(sorted(others, key=lambda other: other.difference))
