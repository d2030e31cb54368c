"""The nights of the proof: ten seeds of every plant, from which nights are drawn and judged as the gate judges.

Every plant is an edit of a copy of the committed source, trained by the command that trains a night, with TRAINED seeds
of the configurations that it can touch; `base` and `luck` are the source as it is, `luck` with seeds of its own. From
these recorded seeds NIGHTS nights are drawn, each with five of them, and judged by the gate's own functions against
`base`. Configurations that a plant was not trained with count as unchanged, so that all of the night's tests are
corrected together. A night's canary is the first of its seeds; whether it stops the night is left open, so that canary
and losses are counted for themselves.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from sweeplora.nightly.baseline import Accepted, Baseline
from sweeplora.nightly.canary import METRIC as CANARY
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.evidence import Evidence, course_of
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.judge import Side, judge
from sweeplora.nightly.quality import FIRST_SHARE, OBJECTIVE, Rules, undecided
from sweeplora.nightly.settings import FEWEST_SEEDS
from sweeplora.nightly.sides import KnownSide, read_sides
from sweeplora.nightly.trials import records_of
from sweeplora.rundir.files import read_sealed
from tools.prove_gate.plants import PLANTS, copy_with

TRAINED = 10
NIGHTS = 20
METRICS = (OBJECTIVE, "val/band_0", "val/band_3", "probe/loss")
BASE, LUCK = "base", "luck"
LUCKY_SEED = 1000
LUCKY = ("locon_offset", "dora_min_snr_masks", "sd15")
ALL = (BASE, LUCK, *PLANTS)


def train(name: str, out: Path) -> None:
    """Train a plant's night, or what is left of it."""
    tree = copy_with(out / "trees" / name, *(PLANTS[name].edit for _ in range(name in PLANTS)))
    nightly = yaml.safe_load((tree / "sweeps" / "nightly.yaml").read_text())["nightly"]
    touched = tuple(nightly["configurations"]) if name == BASE else LUCKY if name == LUCK else PLANTS[name].touched
    words = [
        *("+sweep=nightly", f"sweep.name={name}", f"runs={out / 'runs'}", "tracking=none", "nightly.speed=null"),
        *(f"nightly.seeds={TRAINED}", f"nightly.most_seeds={TRAINED}", f"nightly.baseline={out / 'none'}"),
        *(f"seed={LUCKY_SEED}" for _ in range(name == LUCK)),
        *(
            f"~nightly.{group}.{one}"
            for group in ("configurations", "needs")
            for one in nightly[group]
            if one not in touched
        ),
    ]
    environment = os.environ | {"PYTHONPATH": str(tree / "src")}
    ended = subprocess.run([sys.executable, "-m", "sweeplora", *words], cwd=tree, env=environment, check=False)
    print(f"{name}: exit code {ended.returncode} (2: no baseline)", flush=True)


@dataclass(frozen=True)
class Recorded:
    """One trained night: `sides` by configuration, `courses`: (configuration, seed) -> the first losses."""

    sides: Mapping[str, KnownSide]
    courses: Mapping[tuple[str, int], tuple[float, ...]]


def recorded(night: NightFolder, shift: int = 0) -> Recorded:
    """What a night measured, its seeds less `shift`."""
    sides, content = read_sides(night), read_sealed(night.sides) or {}
    runs = records_of(night.path)
    courses = {
        (configuration, seed - shift): course_of(runs[number][0])
        for configuration, kept in content["sides"].items()
        for number, seed, again in kept["trainings"]
        if number in runs and not again
    }
    renamed = {
        configuration: replace(
            side,
            evidence=replace(
                side.evidence, seeds={seed - shift: values for seed, values in side.evidence.seeds.items()}
            ),
        )
        for configuration, side in sides.items()
    }
    return Recorded(renamed, courses)


def draws() -> Iterator[tuple[int, ...]]:
    """NIGHTS different sets of seeds, in a drawn order: the first one is the canary's."""
    every = list(itertools.combinations(range(TRAINED), FEWEST_SEEDS))
    drawn = random.Random(0)
    for seeds in drawn.sample(every, NIGHTS):
        yield tuple(drawn.sample(seeds, len(seeds)))


def judged(base: Recorded, plant: Recorded, seeds: Sequence[int]) -> list[Criterion]:
    """A night with these seeds: five, and where that does not decide, all that were trained."""
    first = judge(sides_of(base, plant, seeds), Rules(METRICS, FEWEST_SEEDS, FIRST_SHARE))
    names = set(undecided([one for one in first if one.metric != CANARY]))
    if not names:
        return first
    more = [*seeds, *(seed for seed in range(TRAINED) if seed not in seeds)]
    second = judge(sides_of(base, plant, more), Rules(METRICS, FEWEST_SEEDS, 1 - FIRST_SHARE))
    return [
        *(one for one in first if one.configuration not in names),
        *(one for one in second if one.configuration in names),
    ]


def sides_of(base: Recorded, plant: Recorded, seeds: Sequence[int]) -> list[Side]:
    """Every configuration of a night; what the plant was not trained with is as in `base`."""
    found = []
    for name, there in base.sides.items():
        here = plant.sides.get(name, there)
        courses = plant.courses if name in plant.sides else base.courses
        if all((name, seed) in base.courses and seed in here.evidence.seeds for seed in seeds):
            found.append(_side(there, here, seeds, (base.courses[name, seeds[0]], courses[name, seeds[0]])))
    return found


def _side(
    there: KnownSide, here: KnownSide, seeds: Sequence[int], courses: tuple[tuple[float, ...], tuple[float, ...]]
) -> Side:
    """One configuration with its baseline. `courses` of the two sides at the canary's seed.

    A seed trained twice gives the same bits here (`recorded` would not serve otherwise), so `again` is the course.
    """
    assert there.evidence.course == there.evidence.again, "this machine does not repeat bits: record every seed twice"
    before = replace(there.evidence, course=courses[0], again=courses[0])
    baseline = Baseline(there.key, Accepted("", "", "", "", BASE), there.surroundings, there.config, before)
    now = Evidence(
        seeds={seed: here.evidence.seeds[seed] for seed in seeds},
        triples=here.evidence.triples,
        course=courses[1],
        source=here.evidence.source,
    )
    return Side(here.key, here.surroundings, here.config, now, baseline)


def matrix(out: Path, base_nights: Sequence[Path] | None) -> list[str]:
    """A row a plant: how many of the nights called it a regression, and by what; nothing where no base was trained."""
    folders = base_nights or [out / "runs" / BASE]
    if not all(folder.exists() for folder in folders):
        return []
    parts = [recorded(NightFolder(folder)) for folder in folders]
    base = Recorded(
        {name: side for part in parts for name, side in part.sides.items()},
        {place: course for part in parts for place, course in part.courses.items()},
    )
    lines = [
        f"| planted | trained | nights REGRESSED | by canary | by {OBJECTIVE} | by any loss | mean of {OBJECTIVE} |",
        "|---|---|---|---|---|---|---|",
        _row("nothing: the same seeds again", base, base),
    ]
    for name in (LUCK, *PLANTS):
        night = NightFolder(out / "runs" / name)
        if (night.read_report() or {}).get("finished"):
            trained = recorded(night, LUCKY_SEED if name == LUCK else 0)
            says = PLANTS[name].says if name in PLANTS else "nothing: other seeds, so other weights, orders and noise"
            if name == LUCK:  # its seeds are others, so a canary has nothing to say
                trained = replace(trained, courses=base.courses)
            lines.append(_row(says, base, trained))
    return lines


def _row(says: str, base: Recorded, plant: Recorded) -> str:
    caught: Counter[str] = Counter()
    for seeds in draws():
        worse = {one.metric for one in judged(base, plant, seeds) if one.verdict is Verdict.REGRESSED}
        caught["night"] += bool(worse)
        caught["canary"] += CANARY in worse
        caught[OBJECTIVE] += OBJECTIVE in worse
        caught["loss"] += bool(worse - {CANARY})
    names = [name for name in plant.sides if name in base.sides]
    trained = sum(len(plant.sides[name].evidence.seeds) for name in names)
    changes = ", ".join(f"{name} {change(base, plant, name):+.2%}" for name in names)
    counts = " | ".join(f"{caught[key]} of {NIGHTS}" for key in ("night", "canary", OBJECTIVE, "loss"))
    return f"| {says} | {trained} | {counts} | {changes} |"


def change(base: Recorded, plant: Recorded, name: str) -> float:
    """The relative change of the mean objective over the seeds that both have."""
    there, here = base.sides[name].evidence.seeds, plant.sides[name].evidence.seeds
    shared = [seed for seed in there if seed in here]
    before = sum(float(there[seed][OBJECTIVE].mean()) for seed in shared)
    return sum(float(here[seed][OBJECTIVE].mean()) for seed in shared) / before - 1
