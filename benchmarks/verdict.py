"""How often the verdict is right: replays of a table of real trainings, whose truth is known.

    python benchmarks/verdict.py [--replays 1000]

Equal settings: three points whose trainings are drawn from the real ones near the best, each shifted to the same mean,
so that all that is left is what seeds do. A real difference: the same, with two of the points made worse. Rungs:
studies of 24 random settings at one seed, which `pruner=rungs` stops at a quarter. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from replicates import TABLE, Array, Table, read_table

from sweeplora.report.statistics import Cells, compare
from sweeplora.sweep.search.rungs import Reached, Rungs

POINTS, SEEDS, TRIALS = 3, 5, 24
DIFFERENCES = (0.01, 0.02, 0.03, 0.05, 0.08)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--replays", type=int, default=1000)
    chosen = parser.parse_args()
    table, random = read_table(chosen.table), np.random.default_rng(0)
    settings, seeds = table.losses.shape[:2]
    deviation = float(np.sqrt((table.residuals**2).mean()))
    found = {
        "settings": settings,
        "seeds": seeds,
        "settings_near_the_best": len(table.near),
        "deviation_between_seeds": round(deviation, 5),
        "equal_called_different": equal(table, random, chosen.replays),
        "difference_found": {f"{d:.0%}": power(table, random, chosen.replays, d) for d in DIFFERENCES},
        "detectable_at_5_seeds": round(detectable(table, random), 4),
        **rungs(table, random, chosen.replays),
    }
    print(json.dumps(found, indent=1))


def equal(table: Table, random: np.random.Generator, replays: int) -> float:
    """Share of studies of equal points in which any is called different."""
    wrong = sum(any(other.separable for other in compare(study(table, random, 0.0)).others) for _ in range(replays))
    return wrong / replays


def power(table: Table, random: np.random.Generator, replays: int, difference: float) -> float:
    """Share of the worse points that are found."""
    found = 0
    for _ in range(replays):
        comparisons = compare(study(table, random, difference))
        found += sum(other.separable and comparisons.best == 0 for other in comparisons.others)
    return round(found / (replays * (POINTS - 1)), 4)


def detectable(table: Table, random: np.random.Generator) -> float:
    """The difference that such a study says it could have seen, in the mean."""
    return float(np.mean([compare(study(table, random, 0.0)).detectable for _ in range(50)]))


def study(table: Table, random: np.random.Generator, difference: float) -> Cells:
    """Points whose trainings are real ones, moved to one mean; all but the first are worse by `difference`."""
    residuals, near = table.residuals, table.near
    base: Array = table.losses[near, :, -1].mean((0, 1))
    cells: dict[int, dict[int, Array]] = {}
    for point in range(POINTS):
        cells[point] = {}
        for seed in range(SEEDS):
            which, place = random.integers(len(near)), random.integers(residuals.shape[1])
            pattern = table.losses[near[which], place, -1] / table.losses[near[which], :, -1].mean(0)
            losses = base * pattern
            wanted = np.log(base.mean()) + residuals[which, place] + (difference if point else 0.0)
            cells[point][seed] = losses * np.exp(wanted) / losses.mean()
    return cells


def rungs(table: Table, random: np.random.Generator, replays: int) -> dict[str, float]:
    """How often rungs keep the best trial or one not separable from it, and the share of the steps they spend."""
    rule = Rungs(at=0.25, keep=0.25, alpha=0.05)
    deviation = float(np.sqrt((table.residuals**2).mean()))
    first, last = table.steps.index(table.steps[-1] // 4), len(table.steps) - 1
    kept = equal_kept = 0
    spent = []
    for _ in range(replays):
        seed = int(random.integers(table.losses.shape[1]))
        drawn = random.choice(len(table.losses), TRIALS, replace=False)
        chosen = [int(one) for one in drawn if np.isfinite(table.losses[one, seed]).all()]
        reached = [
            Reached(n, float(x.mean()), {f"t{i}": float(loss) for i, loss in enumerate(x)})
            for n in chosen
            for x in [table.losses[n, seed, first]]
        ]
        going = rule.going_on(reached)
        truth = {n: float(table.values[n].mean()) for n in chosen}
        ends = {n: float(np.log(table.losses[n, seed, last].mean())) for n in going}
        winner, best = min(ends, key=lambda n: ends[n]), min(truth, key=lambda n: truth[n])
        kept += best in going
        equal_kept += min(truth[n] for n in going) < truth[best] + deviation * np.sqrt(2 / SEEDS) * 2 or winner == best
        spent.append((len(chosen) * 0.25 + len(going) * 0.75) / len(chosen))
    return {
        "rungs_keep_the_best": round(kept / replays, 4),
        "rungs_keep_the_best_or_an_equal": round(float(equal_kept) / replays, 4),
        "rungs_share_of_steps": round(float(np.mean(spent)), 4),
    }


if __name__ == "__main__":
    main()
