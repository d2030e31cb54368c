"""Measuring a step: blocks of steps by living processes, those of two checkouts in turn on one device."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from annotated_types import Ge

from sweeplora.nightly.composing import runs_word
from sweeplora.nightly.side import Answer, Side
from sweeplora.nightly.speed import FEWEST_BLOCKS, Measured, is_open
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsTail

_NOTHING_BESIDES_STEPS = (
    "train.save_every_epochs=0",
    "train.save_every_steps=0",
    "train.save_last_epochs=0",
    "train.save_last_steps=0",
    "train.validate_every_epochs=0",
    "train.validate_every_steps=0",
    "train.validation_images=1",
    "train.validation_timesteps=1",
    "train.patience=0",
    "train.probe_images=0",
    "train.probe_every_epochs=0",
    "train.checkpoint_minutes=0",
    "train.checkpoint_every_steps=0",
    "sample.every_epochs=0",
    "sample.every_steps=0",
    "sample.at_first=false",
    "sample.at_last=false",
)


@dataclass(frozen=True)
class Blocks:
    """How a step is measured.

    `blocks`: of each side, and as many again, up to `most_blocks`, while a slower side is not certain. `steps`: counted
    in a block, after `warm_up` that are not.
    """

    blocks: Annotated[int, Ge(FEWEST_BLOCKS)]
    most_blocks: Annotated[int, Ge(FEWEST_BLOCKS)]
    steps: Annotated[int, Ge(2)]
    warm_up: Annotated[int, Ge(1)]


class Stopped(Exception):
    """Somebody asked for the end while blocks were measured."""


class NotMeasured(Exception):
    """A block did not come to its end; `side` says whose, `answer` why."""

    def __init__(self, side: str, answer: Answer) -> None:
        super().__init__(f"{side}: {answer.status}: {answer.message}")
        self.side = side
        self.answer = answer


class Block(NamedTuple):
    """One block: mean seconds of a counted step, its share of time without a free core, its peak memory."""

    step_seconds: float
    waited: float
    peak_bytes: int | None


@dataclass
class _Taken:
    """The blocks of one side."""

    side: Side
    blocks: list[Block] = field(default_factory=list)

    @property
    def measured(self) -> Measured:
        return measured_of(self.blocks)


def measured_of(blocks: Sequence[Block]) -> Measured:
    """A side's blocks together; its peak memory is the median of theirs."""
    peaks = [block.peak_bytes for block in blocks if block.peak_bytes is not None]
    return Measured(
        tuple(block.step_seconds for block in blocks),
        tuple(block.waited for block in blocks),
        int(statistics.median(peaks)) if peaks else None,
    )


def block_words(words: Sequence[str], blocks: Blocks) -> list[str]:
    """The words of a training that is one block."""
    length = blocks.warm_up + blocks.steps
    return [*words, *_NOTHING_BESIDES_STEPS, "train.epochs=null", f"train.steps={length}"]


def measure(
    sides: Sequence[Side], words: Sequence[str], blocks: Blocks, folder: Path, between: Callable[[], None]
) -> list[Measured]:
    """Measure one side, or two in turn, `then` before `now`; the order within a round alternates.

    The first block of each side, which reads the model and encodes the data, does not count. `between` is called after
    every block, and may raise. Raises NotMeasured.
    """
    taken = [_Taken(side) for side in sides]
    wanted = block_words(words, blocks)

    def round_(number: int) -> list[Block]:
        found = {}
        order = range(len(taken)) if number % 2 else reversed(range(len(taken)))
        for index in order:
            own = folder / taken[index].side.tree.name  # no cache is shared: what fills it is measured code too
            found[index] = block(taken[index].side, [*wanted, runs_word(own)], blocks.warm_up, own / "block")
            between()
        return [found[index] for index in range(len(taken))]

    round_(0)
    while more(taken, blocks):
        for number in range(1, blocks.blocks + 1):
            for one, measured in zip(taken, round_(number), strict=True):
                one.blocks.append(measured)
    return [one.measured for one in taken]


def more(taken: Sequence[_Taken], blocks: Blocks) -> bool:
    """Whether another series of blocks is to be measured."""
    count = len(taken[0].blocks)
    if count < blocks.blocks:
        return True
    enough = count + blocks.blocks > blocks.most_blocks or len(taken) < 2
    return not enough and is_open(taken[0].measured, taken[1].measured)


def block(side: Side, words: Sequence[str], warm_up: int, folder: Path) -> Block:
    """Train one block in a folder that is there only meanwhile. Raises NotMeasured."""
    shutil.rmtree(folder, ignore_errors=True)
    answer = side.train(words, folder, watch=True)
    try:
        if answer.status != "finished":
            raise NotMeasured(side.tree.name, answer)
        counted = counted_steps(folder, warm_up)
        if counted is None:
            raise NotMeasured(side.tree.name, answer._replace(status="failed", message="it logged too few steps"))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    begun, ended, steps = counted
    return Block((ended - begun) / steps, waited_share(answer.waits, begun, ended), answer.peak_bytes)


def counted_steps(folder: Path, warm_up: int) -> tuple[float, float, int] | None:
    """When the steps after the first `warm_up` began and ended, by metrics.jsonl, and how many they are; None for none.

    Everything between two steps counts: loading, logging, the end of an epoch.
    """
    ends = {point.step: point.time for point in MetricsTail(RunDir(folder).metrics).poll() if point.key == "loss"}
    last = max(ends, default=0)
    if warm_up not in ends or last <= warm_up or ends[last] <= ends[warm_up]:
        return None
    return ends[warm_up], ends[last], last - warm_up


def waited_share(waits: Sequence[tuple[float, float]], begun: float, ended: float) -> float:
    """The share of the time between two moments in which a process waited for a free core; 0 if it was not told."""
    if len(waits) < 2:
        return 0.0
    times, seconds = zip(*waits, strict=True)
    at_begin, at_end = np.interp([begun, ended], times, seconds)
    return float(np.clip((at_end - at_begin) / (ended - begun), 0.0, 1.0))
