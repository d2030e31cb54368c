"""Does the nightly gate catch what it should, and nothing else? Trainings with planted faults, judged as nights.

    python tools/prove_gate.py train OUT [NAME ...]   # these nights, or all; goes on where cut off
    python tools/prove_gate.py judge OUT [--base NIGHT ...]   # the matrix, as Markdown

`--base`: folders of nights that the same source trained with TRAINED seeds, instead of the one that `train` makes.

Every plant is an edit of a copy of the committed source, trained by the command that trains a night, with TRAINED seeds
of the configurations that it can touch; `base` and `luck` are the source as it is, `luck` with seeds of its own. From
these recorded seeds NIGHTS nights are drawn, each with five of them, and judged by the gate's own functions against
`base`. Configurations that a plant was not trained with count as unchanged, so that all of the night's tests are
corrected together. A night's canary is the first of its seeds.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import yaml

from sweeplora.nightly.baseline import Accepted, Baseline
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.evidence import Evidence, course_of
from sweeplora.nightly.folder import NightFolder
from sweeplora.nightly.judge import Side, judge
from sweeplora.nightly.quality import FIRST_SHARE, OBJECTIVE, Rules, undecided
from sweeplora.nightly.settings import FEWEST_SEEDS
from sweeplora.nightly.sides import KnownSide, read_sides
from sweeplora.nightly.trials import records_of
from sweeplora.rundir.files import read_sealed

ROOT = Path(__file__).resolve().parents[1]
TRAINED = 10
NIGHTS = 20
METRICS = (OBJECTIVE, "val/band_0", "val/band_3", "probe/loss")
BASE, LUCK = "base", "luck"
LUCKY_SEED = 1000
LUCKY = ("locon_offset", "dora_min_snr_masks", "sd15")


class Plant(NamedTuple):
    """An edit of one file: `before`, which it holds once, becomes `after`. `touched`: the configurations to train."""

    says: str
    file: str
    before: str
    after: str
    touched: tuple[str, ...]


PLANTS = {
    "rate": Plant(
        "learning rate doubled in conf/",
        "conf/optimizer/adamw.yaml",
        "lr: 2e-3 ",
        "lr: 4e-3 ",
        ("locon_offset", "sd15"),
    ),
    "offset": Plant(
        "noise offset drawn per pixel instead of per channel",
        "src/sweeplora/diffusion/noise.py",
        "torch.randn((latent.shape[0], 1, 1), generator=generator)",
        "torch.randn(latent.shape, generator=generator)",
        ("locon_offset",),
    ),
    "alpha": Plant(
        "alpha doubled on its way to the network's scale",
        "src/sweeplora/networks/blocks.py",
        "Rank(dim, float(alpha or dim))",
        "Rank(dim, 2 * float(alpha or dim))",
        ("v_prediction_accumulation",),
    ),
    "sizes": Plant(
        "size ids swapped: the crop's corner where the original size belongs",
        "src/sweeplora/data/pixels.py",
        "return (picture.height, picture.width, view.top, left,",
        "return (view.top, left, picture.height, picture.width,",
        ("dora_min_snr_masks",),
    ),
    "encoder": Plant(
        "the first text encoder's hidden states dropped",
        "src/sweeplora/models/loaded.py",
        "torch.cat([one.hidden for one in encoded], dim=-1)",
        "torch.cat([one.hidden * (one is not encoded[0]) for one in encoded], dim=-1)",
        ("locon_offset",),
    ),
    "captions": Plant(
        "captions shifted by one image in every batch",
        "src/sweeplora/data/loader.py",
        "captions=tuple(part.caption for part in parts)",
        "captions=tuple(part.caption for part in (*parts[1:], parts[0]))",
        ("dora_min_snr_masks",),
    ),
    "small": Plant(
        "a small change: learning rate 4 % higher",
        "conf/optimizer/adamw.yaml",
        "lr: 2e-3 ",
        "lr: 2.08e-3 ",
        ("locon_offset",),
    ),
}
HARMLESS = (LUCK, "small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["train", "judge"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--base", nargs="+", type=Path, help="folders of nights")
    parser.add_argument("names", nargs="*", help=f"of {', '.join((BASE, LUCK, *PLANTS))}")
    chosen = parser.parse_args()
    if chosen.what == "train":
        for name in chosen.names or (BASE, LUCK, *PLANTS):
            train(name, chosen.out.absolute())
    else:
        print(matrix(chosen.out.absolute(), chosen.base))


def train(name: str, out: Path) -> None:
    """Train a plant's night, or what is left of it."""
    tree = out / "trees" / name
    if not tree.exists():
        planted(name, tree)
    nightly = yaml.safe_load((tree / "sweeps" / "nightly.yaml").read_text())["nightly"]
    touched = tuple(nightly["configurations"]) if name == BASE else LUCKY if name == LUCK else PLANTS[name].touched
    words = [
        *("+sweep=nightly", f"sweep.name={name}", f"runs={out / 'runs'}", "tracking=none"),
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


def planted(name: str, tree: Path) -> None:
    """A copy of the committed source with a plant's edit."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", "HEAD"], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tree, filter="data")
    if name in PLANTS:
        plant = PLANTS[name]
        file = tree / plant.file
        text = file.read_text()
        if text.count(plant.before) != 1:
            raise SystemExit(f"{plant.file} holds {plant.before!r} {text.count(plant.before)} times, not once")
        file.write_text(text.replace(plant.before, plant.after))


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
    names = set(undecided(first))
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


def matrix(out: Path, base_nights: Sequence[Path] | None) -> str:
    """A row a plant: how many of the nights called it a regression, and by what."""
    parts = [recorded(NightFolder(folder)) for folder in base_nights or [out / "runs" / BASE]]
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
            plant = recorded(night, LUCKY_SEED if name == LUCK else 0)
            says = PLANTS[name].says if name in PLANTS else "nothing: other seeds, so other weights, orders and noise"
            if name == LUCK:  # its seeds are others, so a canary has nothing to say
                plant = replace(plant, courses=base.courses)
            lines.append(_row(says, base, plant))
    return "\n".join(lines)


def _row(says: str, base: Recorded, plant: Recorded) -> str:
    caught: Counter[str] = Counter()
    for seeds in draws():
        worse = {one.metric for one in judged(base, plant, seeds) if one.verdict is Verdict.REGRESSED}
        caught["night"] += bool(worse)
        caught["canary"] += "canary" in worse
        caught[OBJECTIVE] += OBJECTIVE in worse
        caught["loss"] += bool(worse - {"canary"})
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


if __name__ == "__main__":
    main()
