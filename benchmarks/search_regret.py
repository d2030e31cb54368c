"""How far from the best a search ends after 20, 40 and 60 trials, replayed on a table of real trainings.

    python benchmarks/search_regret.py [--studies 40] [--searches tpe,gp,cmaes,qmc,random,optuna]

The objective is log(val/loss) of the table's settings (rank, scale, learning rate), interpolated between the real ones
in the logarithms, plus what a seed really did to one of them. Regret is the true loss of the trial that the study would
name best over the least true loss, as a ratio; the median over studies. It would name the trial with the lowest value,
or, as `sweep.confirm` does, that of the best three with the lowest mean over five further seeds. `optuna` is Optuna's
sampler as it comes, the others are conf/search/. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import yaml
from hydra.utils import get_object
from optuna.samplers import BaseSampler, TPESampler
from replicates import WIDE, Array, Table, read_table
from scipy.interpolate import RegularGridInterpolator

BUDGETS = (20, 40, 60)
TOP, SEEDS = 3, 5
CONF = Path(__file__).parents[1] / "conf" / "search"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", type=Path, default=WIDE)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--searches", default="tpe,cmaes,qmc,random,optuna")
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = read_table(chosen.table)
    surface = interpolated(table)
    found: dict[str, dict[str, dict[str, float]]] = {"best_value": {}, "confirmed": {}}
    for search in chosen.searches.split(","):
        regrets = [regret(table, surface, sampler(search, number), number) for number in range(chosen.studies)]
        for named, medians in zip(found, np.median(regrets, axis=0), strict=True):
            found[named][search] = {str(n): round(float(value), 4) for n, value in zip(BUDGETS, medians, strict=True)}
            print(named, search, found[named][search], flush=True)
    print(json.dumps({"studies": chosen.studies, "median_regret": found}, indent=1))


def sampler(search: str, seed: int) -> BaseSampler:
    """A search of conf/search/ by name, or Optuna's own default."""
    if search == "optuna":
        return TPESampler(seed=seed)
    config = yaml.safe_load((CONF / f"{search}.yaml").read_text())
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    built: BaseSampler = get_object(config["_target_"])(**{**arguments, "seed": seed})
    return built


def interpolated(table: Table) -> Callable[[Array], float]:
    """log(loss) at any (log rank, log scale, log rate) between the table's settings."""
    axes = [np.unique(column) for column in table.settings.T]
    shape = tuple(map(len, axes))
    means = np.where(np.isfinite(table.values), table.values, math.log(2)).mean(1)
    grid = np.full(shape, np.nan)
    for setting, mean in zip(table.settings, means, strict=True):
        grid[tuple(int(np.searchsorted(axis, value)) for axis, value in zip(axes, setting, strict=True))] = mean
    assert np.isfinite(grid).all(), "the table is a full grid"
    surface = RegularGridInterpolator([np.log(axis) for axis in axes], grid)
    return lambda point: float(surface(point)[0])


def regret(table: Table, surface: Callable[[Array], float], search: BaseSampler, number: int) -> list[list[float]]:
    """The regret of one study after each budget: of the trial with the best value, and of the one confirmed."""
    random = np.random.default_rng(number)
    lows, highs = np.log(table.settings.min(0)), np.log(table.settings.max(0))
    least = float(table.values.mean(1).min())
    study = optuna.create_study(sampler=search)
    true: list[float] = []
    seen: list[float] = []
    for _ in range(max(BUDGETS)):
        trial = study.ask()
        point = [
            trial.suggest_float(name, math.exp(low), math.exp(high), log=True)
            for name, low, high in zip(table.columns, lows, highs, strict=True)
        ]
        loss = surface(np.clip(np.log(point), lows, highs))
        true.append(loss)
        seen.append(loss + float(random.choice(table.residuals.ravel())))
        study.tell(trial, math.exp(seen[-1]))
    best = [np.argsort(seen[:budget])[:TOP] for budget in BUDGETS]
    again = [[true[place] + random.choice(table.residuals.ravel(), SEEDS).mean() for place in few] for few in best]
    confirmed = [few[int(np.argmin(means))] for few, means in zip(best, again, strict=True)]
    return [[math.expm1(true[place] - least) for place in named] for named in ([few[0] for few in best], confirmed)]


if __name__ == "__main__":
    main()
