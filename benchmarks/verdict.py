"""How often the verdict is right: replays of tables of real trainings, whose truth is known.

    python benchmarks/verdict.py [--replays 1000]

Equal settings: three points whose trainings are drawn from the real ones near the best, each shifted to the same mean,
so that all that is left is what seeds do. A real difference: the same, with two of the points made worse. Both also as
`sweep.confirm` sees them, which looks after every round from the second on. Rungs: studies of 24 random settings at one
seed, which `pruner=rungs` stops at a quarter; `by_rank`: the same studies where the best of every rank is to be
confirmed, so that rungs keep it as well (`with`), and where it is not (`without`). Prints one JSON object; `wide` and
`long` are the tables of tools/replicate_table.py, and only `wide` is scored at a quarter. `long_steady`: the settings
of `long` at whose rates trainings are stable.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from replicates import LONG, WIDE, Array, Table, read_table

from sweeplora.report.statistics import Cells, compare, early_alpha
from sweeplora.sweep.search.rungs import Reached, Rungs

POINTS, SEEDS, TRIALS = 3, 5, 24
DIFFERENCES = (0.01, 0.02, 0.03, 0.05, 0.08)
MORE_SEEDS = (3, 5, 7, 10)
LONGEST_STEADY_STEP = 0.01

ToldApart = Callable[[int, int], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--replays", type=int, default=1000)
    replays = parser.parse_args().replays
    long = read_table(LONG)
    tables = {"wide": read_table(WIDE), "long": long, "long_steady": steady(long)}
    print(json.dumps({name: replayed(table, replays) for name, table in tables.items()}, indent=1))


def steady(table: Table) -> Table:
    """The settings whose scale times rate is at most LONGEST_STEADY_STEP: at longer ones seeds part."""
    columns = dict(zip(table.columns, table.settings.T, strict=True))
    kept = np.flatnonzero(columns["scale"] * columns["rate"] <= LONGEST_STEADY_STEP)
    return replace(table, settings=table.settings[kept], losses=table.losses[kept])


def replayed(table: Table, replays: int) -> dict[str, Any]:
    """What the replays of a table show."""
    random = np.random.default_rng(0)
    settings, seeds = table.losses.shape[:2]
    return {
        "settings": settings,
        "seeds": seeds,
        "steps": table.steps[-1],
        "settings_near_the_best": len(table.near),
        "deviation_between_seeds": round(float(np.sqrt((table.residuals**2).mean())), 5),
        "equal_called_different": equal(table, random, replays),
        "difference_found": {f"{d:.0%}": power(table, random, replays, d) for d in DIFFERENCES},
        "2%_found_by_seeds": {n: power(table, random, replays, 0.02, n) for n in MORE_SEEDS},
        "with_looks": with_looks(table, random, replays),
        "detectable_at_5_seeds": round(detectable(table, random), 4),
        **(rungs(table, random, replays) if table.steps[-1] // 4 in table.steps else {}),
    }


def equal(table: Table, random: np.random.Generator, replays: int) -> float:
    """Share of studies of equal points in which any is called different."""
    wrong = sum(any(other.separable for other in compare(study(table, random, 0.0)).others) for _ in range(replays))
    return wrong / replays


def power(table: Table, random: np.random.Generator, replays: int, difference: float, seeds: int = SEEDS) -> float:
    """Share of the worse points that are found."""
    found = 0
    for _ in range(replays):
        comparisons = compare(study(table, random, difference, seeds))
        found += sum(other.separable and comparisons.best == 0 for other in comparisons.others)
    return round(found / (replays * (POINTS - 1)), 4)


def with_looks(table: Table, random: np.random.Generator, replays: int) -> dict[str, float]:
    """The same two shares where `sweep.confirm` adds seeds round by round, for a difference of 2 %."""
    wrong = found = 0
    for _ in range(replays):
        wrong += bool(_confirmed(study(table, random, 0.0)))
        found += len(_confirmed(study(table, random, 0.02)) - {0})
    return {
        "equal_called_different": round(wrong / replays, 4),
        "difference_found": round(found / (replays * (POINTS - 1)), 4),
    }


def _confirmed(cells: Cells) -> set[int]:
    """The points that are called worse at the end, as `sweep.replicates.Replicates` looks and leaves points alone."""
    worse: set[int] = set()
    seen: dict[int, dict[int, Array]] = {}
    looks = SEEDS - 1
    for look in range(1, looks + 1):
        seen |= {p: {s: x for s, x in of.items() if s <= look} for p, of in cells.items() if p not in worse}
        worse |= {other.point for other in compare(seen, None, early_alpha(look, looks)).others if other.separable}
        if len(worse) == len(cells) - 1:
            break
    return {other.point for other in compare(seen, None, early_alpha(looks, looks)).others if other.separable}


def detectable(table: Table, random: np.random.Generator) -> float:
    """The difference that such a study says it could have seen, in the mean."""
    return float(np.mean([compare(study(table, random, 0.0)).detectable for _ in range(50)]))


def study(table: Table, random: np.random.Generator, difference: float, seeds: int = SEEDS) -> Cells:
    """Points whose trainings are real ones, moved to one mean; all but the first are worse by `difference`."""
    residuals, near = table.residuals, table.near
    base: Array = table.losses[near, :, -1].mean((0, 1))
    cells: dict[int, dict[int, Array]] = {}
    for point in range(POINTS):
        cells[point] = {}
        for seed in range(seeds):
            which, place = random.integers(len(near)), random.integers(residuals.shape[1])
            pattern = table.losses[near[which], place, -1] / table.losses[near[which], :, -1].mean(0)
            losses = base * pattern
            wanted = np.log(base.mean()) + residuals[which, place] + (difference if point else 0.0)
            cells[point][seed] = losses * np.exp(wanted) / losses.mean()
    return cells


def rungs(table: Table, random: np.random.Generator, replays: int) -> dict[str, Any]:
    """How often rungs keep the best trial or one not separable from it, and the share of the steps they spend."""
    rule = Rungs(at=0.25, keep=0.25, alpha=0.05)
    told_apart = functools.cache(functools.partial(_told_apart, table))
    ranks = dict(enumerate(table.settings[:, table.columns.index("rank")].tolist()))
    studies = [_at_their_rung(table, random) for _ in range(replays)]
    going = [rule.going_on(reached) for reached in studies]
    going_by_rank = [rule.going_on(reached, ranks, len(set(ranks.values()))) for reached in studies]
    best = [_best(table, [one.number for one in reached]) for reached in studies]
    equal = [_has_equal(b, kept, told_apart) for b, kept in zip(best, going, strict=True)]
    return {
        "rungs_keep_the_best": round(float(np.mean([b in kept for b, kept in zip(best, going, strict=True)])), 4),
        "rungs_keep_the_best_or_an_equal": round(float(np.mean(equal)), 4),
        "rungs_share_of_steps": _share_of_steps(studies, going),
        "by_rank": {
            "without": _of_every_rank(table, studies, going, ranks, told_apart),
            "with": _of_every_rank(table, studies, going_by_rank, ranks, told_apart),
        },
    }


def _at_their_rung(table: Table, random: np.random.Generator) -> list[Reached]:
    """A study: settings at one seed, those that did not diverge, at a quarter of their steps."""
    first = table.steps.index(table.steps[-1] // 4)
    seed = int(random.integers(table.losses.shape[1]))
    drawn = random.choice(len(table.losses), TRIALS, replace=False)
    chosen = [int(one) for one in drawn if np.isfinite(table.losses[one, seed]).all()]
    return [
        Reached(n, float(x.mean()), {f"t{i}": float(loss) for i, loss in enumerate(x)})
        for n in chosen
        for x in [table.losses[n, seed, first]]
    ]


def _of_every_rank(
    table: Table,
    studies: Sequence[Sequence[Reached]],
    going: Sequence[Sequence[int]],
    ranks: Mapping[int, float],
    told_apart: ToldApart,
) -> dict[str, float]:
    """How often every rank has a trial that comes to its end, its best, or one that cannot be told from its best."""
    any_, best_, equal_ = [], [], []
    for reached, kept in zip(studies, going, strict=True):
        of_rank: dict[float, list[int]] = {}
        for one in reached:
            of_rank.setdefault(ranks[one.number], []).append(one.number)
        ended = {rank: [n for n in kept if ranks[n] == rank] for rank in of_rank}
        best = {rank: _best(table, numbers) for rank, numbers in of_rank.items()}
        any_.append(all(ended.values()))
        best_.append([best[rank] in ended[rank] for rank in of_rank])
        equal_.append([_has_equal(best[rank], ended[rank], told_apart) for rank in of_rank])
    return {
        "every_rank_comes_to_its_end": round(float(np.mean(any_)), 4),
        "best_of_a_rank": round(float(np.mean(np.concatenate(best_))), 4),
        "best_of_a_rank_or_an_equal": round(float(np.mean(np.concatenate(equal_))), 4),
        "best_of_every_rank_or_an_equal": round(float(np.mean([all(one) for one in equal_])), 4),
        "share_of_steps": _share_of_steps(studies, going),
    }


def _best(table: Table, numbers: Sequence[int]) -> int:
    """The setting that is best over all seeds of the table."""
    means = table.values.mean(1)
    return min(numbers, key=lambda n: float(means[n]))


def _has_equal(best: int, kept: Sequence[int], told_apart: ToldApart) -> bool:
    return best in kept or not all(told_apart(best, n) for n in kept)


def _share_of_steps(studies: Sequence[Sequence[Reached]], going: Sequence[Sequence[int]]) -> float:
    spent = [0.25 + 0.75 * len(kept) / len(reached) for reached, kept in zip(studies, going, strict=True)]
    return round(float(np.mean(spent)), 4)


def _told_apart(table: Table, one: int, other: int) -> bool:
    """Whether all seeds of the table tell two settings apart."""
    cells = {n: dict(enumerate(table.losses[n, :, -1])) for n in (one, other)}
    return compare(cells).others[0].separable


if __name__ == "__main__":
    main()
