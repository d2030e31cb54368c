"""The tables of real trainings that the replays read, made by tools/replicate_table.py."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
WIDE = Path(__file__).with_name("replicates.npz")
"""60 settings, short trainings."""

LONG = Path(__file__).with_name("replicates_long.npz")
"""The same settings, longer trainings, four times as many triples."""


@dataclass(frozen=True)
class Table:
    """`settings` [S, columns]; `losses` [S, seeds, scored steps, triples], NaN where a training diverged.

    Only settings that were trained with every seed are in it. `residuals` [near, seeds]: what is left of log(mean loss)
    at the last step, without the setting's and the seed's own effect, of settings within a tenth of the best, scaled so
    that its variance is that of a single training.
    """

    settings: Array
    columns: tuple[str, ...]
    steps: tuple[int, ...]
    losses: Array
    about: dict[str, Any]

    @property
    def values(self) -> Array:
        """log(mean loss) at the last step [S, seeds]."""
        values: Array = np.log(self.losses[:, :, -1].mean(-1))
        return values

    @property
    def near(self) -> NDArray[np.intp]:
        """The settings within a tenth of the best."""
        means = self.values.mean(1)
        return np.flatnonzero(means < np.nanmin(means) + 0.1)

    @property
    def residuals(self) -> Array:
        values = self.values[self.near]
        left = values - values.mean(1, keepdims=True) - values.mean(0) + values.mean()
        points, seeds = values.shape
        scaled: Array = left * np.sqrt(points * seeds / ((points - 1) * (seeds - 1)))
        return scaled


def read_table(file: Path, most_seeds: int = 5) -> Table:
    """The table: its first seeds, `most_seeds` at most, and the settings that were trained with all of them."""
    raw = np.load(file)
    count = len(raw["settings"])
    by_place = {
        (int(s), int(seed)): row for row, (s, seed) in enumerate(zip(raw["setting"], raw["seeds"], strict=True))
    }
    seeds = min(most_seeds, 1 + int(raw["seeds"].max()))
    whole = [s for s in range(count) if all((s, seed) in by_place for seed in range(seeds))]
    losses = np.array([[raw["losses"][by_place[s, seed]] for seed in range(seeds)] for s in whole], np.float64)
    steps, columns = tuple(map(int, raw["steps"])), tuple(map(str, raw["columns"]))
    return Table(raw["settings"][whole], columns, steps, losses, json.loads(str(raw["about"])))
