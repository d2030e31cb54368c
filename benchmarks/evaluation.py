"""Time of a validation and a preview: the network merged or its update in every pass, prompts together or alone.

    python benchmarks/evaluation.py [--network locon] [--rounds 5] [--set model=sdxl model.path=FOLDER ...]

One process with the shipped model and data. Each round takes every way in turn, in changing order; what counts is the
median over the rounds of the ratio before / after within a round, and the median CPU time of the process. Prints one
JSON object.

2026-11-26, torch 2.13.0, two cores busy with other work (load average 15), one thread, CPU seconds: with locon a
validation of 64 triples 0.880 -> 0.701 (ratio 1.26), a preview of four prompts 5.56 -> 2.02 (2.68).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from step import assemble

from sweeplora.training.evaluate import TripleSet, score
from sweeplora.training.loop import Trainer
from sweeplora.training.prepare import Inputs
from sweeplora.training.previews.batches import Places, in_batches
from sweeplora.training.previews.draw import draw
from sweeplora.training.previews.prompts import caption_prompts
from sweeplora.training.previews.settings import Sample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="locon")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="further overrides")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer, inputs = assemble([f"network={arguments.network}", *arguments.set], Path(folder))
        move(trainer)
        trainer.network.train(False)
        ways = {f"{what}, {how}": run for what, pair in pairs(trainer, inputs).items() for how, run in pair.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for run in ways.values():
            run()
        for number in range(arguments.rounds):
            for name in sorted(ways, reverse=bool(number % 2)):
                started = time.process_time()
                ways[name]()
                times[name].append(time.process_time() - started)
    found: dict[str, object] = {name: round(statistics.median(taken), 3) for name, taken in times.items()}
    for what in ("validation", "preview"):
        ratios = [b / a for b, a in zip(times[f"{what}, before"], times[f"{what}, after"], strict=True)]
        found[f"{what}, ratio"] = round(statistics.median(ratios), 2)
    print(json.dumps({"network": arguments.network, "cpu_seconds": found}))


def pairs(trainer: Trainer, inputs: Inputs) -> dict[str, dict[str, Callable[[], object]]]:
    """A validation and a preview, each as it was and as it is."""
    network, family, triples = trainer.network, trainer.family, inputs.validation
    settings = Sample(
        prompts=None, every_epochs=0, every_steps=0, at_first=True, at_last=True, sampler="euler_a", karras=False,
        steps=20, guidance=5.0, seed=42, weighted=True,
    )  # fmt: skip
    prompts, size = caption_prompts(inputs.dataset, weighted=True), inputs.dataset.resolution
    batches = in_batches(prompts, settings, size, Places(family.divisor, family.scale_factor))

    def validate(triples: TripleSet, merged: bool) -> None:
        with network.merged() if merged else nullcontext():
            score(triples, family, trainer.step_settings.noising, trainer.processes, "fp32")

    def preview(batches: list[list[int]], merged: bool) -> None:
        with network.merged() if merged else nullcontext():
            for batch in batches:
                draw(family, [prompts[index] for index in batch], settings, size)

    return {
        "validation": {"before": lambda: validate(triples, False), "after": lambda: validate(triples, True)},
        "preview": {
            "before": lambda: preview([[index] for index in range(len(prompts))], False),
            "after": lambda: preview(batches, True),
        },
    }


def move(trainer: Trainer) -> None:
    """Stand in for a training: every trained number moves."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for one in trainer.network.trained():
            one.parameter.add_(0.01 * torch.randn(one.parameter.shape, generator=generator))


if __name__ == "__main__":
    main()
