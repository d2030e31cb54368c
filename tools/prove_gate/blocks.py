"""Step time and memory in the proof: sessions of blocks, from which nights are drawn and judged as the gate judges.

A session is three living processes that train blocks in turn, as `nightly.against` has two do: the committed source,
the same once more, and a copy that sleeps for a tenth of the processor time of each step and holds a tenth more memory
at its peak. Every block is a real training. A night is BLOCKS.blocks rounds drawn from one session; where the gate asks
for more, it gets the session's other rounds.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from sweeplora.nightly.blocks import Block, Blocks, block, block_words, measured_of
from sweeplora.nightly.composing import compose_folder, runs_word, training_words
from sweeplora.nightly.criterion import Criterion, Verdict
from sweeplora.nightly.measuring import slot_of
from sweeplora.nightly.side import Place, Side, Tree
from sweeplora.nightly.speed import MEMORY, STEP, Measured, is_open, judge
from sweeplora.rundir.files import write_json
from tools.prove_gate.nights import NIGHTS
from tools.prove_gate.plants import Edit, copy_with

ROUNDS = 24
BLOCKS = Blocks(blocks=6, most_blocks=24, steps=5, warm_up=1)
WORDS = (
    *("network=locon", "network.dim=128", "train.batch_size=1"),  # so that a tenth of its memory is above 64 MiB
    *("sample=none", "tracking=none", "launcher.device=cpu", "launcher.threads=1"),
)
BASE, AGAIN, PLANTED = "base", "again", "planted"
SHARE = 0.1

LOOP = "src/sweeplora/training/loop.py"
_STEP = "        started = time.perf_counter()\n"
_TOP = "class Diverged(Exception):\n"

Round = Mapping[str, Block]


def edits(peak_bytes: int) -> tuple[Edit, Edit]:
    """A sleep of SHARE of a step's processor time, and SHARE of `peak_bytes` more memory."""
    planted = f'PLANTED = {{"seen": time.thread_time(), "held": b"x" * {int(SHARE * peak_bytes)}}}\n\n\n'
    sleep = f'        time.sleep({SHARE} * (time.thread_time() - PLANTED["seen"]))\n'
    return (
        Edit(LOOP, _TOP, f"{planted}{_TOP}"),
        Edit(LOOP, _STEP, f'{_STEP}{sleep}        PLANTED["seen"] = time.thread_time()\n'),
    )


def record(out: Path, rounds: int) -> None:
    """Train one session of so many rounds; each is kept as soon as it is complete."""
    folder = out / "blocks"
    work = folder / "work"
    file = folder / f"{len(list(folder.glob('*.json'))):02}.json"
    compose_folder(work / "compose", work, None)
    place = Place(work / "compose", work, work / "log.txt", slot_of(WORDS))
    source = copy_with(out / "trees" / BASE) / "src"
    kept: list[Round] = []
    with ExitStack() as stack:

        def opened(name: str, source: Path) -> Side:
            return stack.enter_context(Side(Tree(name, source, Path(sys.executable)), place))

        sides = [opened(BASE, source), opened(AGAIN, source)]
        peak, _ = (_block(side, work).peak_bytes for side in sides)  # the first reads and encodes: it does not count
        assert peak is not None
        sides.append(opened(PLANTED, copy_with(out / "trees" / PLANTED, *edits(peak)) / "src"))
        _block(sides[-1], work)
        orders = list(itertools.permutations(sides))
        for number in range(rounds):
            kept.append({side.tree.name: _block(side, work) for side in orders[number % len(orders)]})
            write_json(file, {"rounds": [{name: one._asdict() for name, one in each.items()} for each in kept]})
            print(f"round {number + 1} of {rounds}: {_shown(kept[-1])}", flush=True)


def _block(side: Side, work: Path) -> Block:
    own = work / side.tree.name
    words = [*block_words(training_words(WORDS), BLOCKS), runs_word(own)]
    return block(side, words, BLOCKS.warm_up, own / "block")


def _shown(found: Round) -> str:
    return ", ".join(f"{name} {1000 * one.step_seconds:.0f} ms ({one.waited:.0%})" for name, one in found.items())


def sessions(out: Path) -> list[list[Round]]:
    """The rounds of every session, in the order in which they were recorded."""
    contents = [json.loads(file.read_text()) for file in sorted((out / "blocks").glob("*.json"))]
    return [[{name: Block(**one) for name, one in each.items()} for each in content["rounds"]] for content in contents]


def nights(recorded: Sequence[Sequence[Round]]) -> Iterator[list[Round]]:
    """The rounds of NIGHTS nights, by sessions in turn: drawn ones first, in their order, then the session's others."""
    usable = [rounds for rounds in recorded if len(rounds) >= BLOCKS.blocks]
    drawn = random.Random(0)
    for rounds in itertools.islice(itertools.cycle(usable), NIGHTS):
        chosen = sorted(drawn.sample(range(len(rounds)), BLOCKS.blocks))
        rest = [number for number in range(len(rounds)) if number not in chosen]
        yield [rounds[number] for number in (*chosen, *rest)]


def judged(night: Sequence[Round], name: str) -> list[Criterion]:
    """What the gate says to one side against BASE, after as many blocks as it takes."""
    count = BLOCKS.blocks
    while True:
        then, now = measured(night[:count], BASE), measured(night[:count], name)
        if count + BLOCKS.blocks > min(len(night), BLOCKS.most_blocks) or not is_open(then, now):
            return judge(name, then, now, BASE, interleaved=True)
        count += BLOCKS.blocks


def measured(rounds: Sequence[Round], name: str) -> Measured:
    """One side's blocks."""
    return measured_of([each[name] for each in rounds])


def matrix(out: Path) -> list[str]:
    """A row for the same source and one for the plants, of nights alone on the machine and of nights that were not."""
    recorded = sessions(out)
    drawn = list(nights(recorded))
    groups = {"free": [one for one in drawn if not _was_busy(one)], "busy": [one for one in drawn if _was_busy(one)]}
    lines = [
        f"| planted | machine | nights | {STEP} REGRESSED | open | {MEMORY} REGRESSED | {STEP} | {MEMORY} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    says = {AGAIN: "nothing: the same source", PLANTED: f"sleep of {SHARE:.0%} of a step, {SHARE:.0%} more memory"}
    for name, planted in says.items():
        lines += [_row(planted, machine, group, name) for machine, group in groups.items() if group]
    trained = sum(len(each) for rounds in recorded for each in rounds)
    return [*lines, "", f"{trained} trainings in {len(recorded)} sessions."] if drawn else []


def _was_busy(night: Sequence[Round]) -> bool:
    return measured(night[: BLOCKS.blocks], BASE).was_busy


def _row(planted: str, machine: str, group: Sequence[Sequence[Round]], name: str) -> str:
    found = [{one.metric: one for one in judged(night, name)} for night in group]
    caught = Counter((metric, one.verdict) for night in found for metric, one in night.items())
    waits = [statistics.median(measured(night[: BLOCKS.blocks], BASE).waited) for night in group]
    cells = [
        planted,
        f"{machine}: no core free for {_range(waits, '.0%')} of the time",
        str(len(group)),
        f"{caught[STEP, Verdict.REGRESSED]} of {len(group)}",
        str(caught[STEP, Verdict.INCONCLUSIVE]),
        f"{caught[MEMORY, Verdict.REGRESSED]} of {len(group)}",
        *(_range([_effect(night[metric]) for night in found], "+.1%") for metric in (STEP, MEMORY)),
    ]
    return f"| {' | '.join(cells)} |"


def _effect(one: Criterion) -> float:
    assert one.effect is not None
    return one.effect


def _range(values: Sequence[float], form: str) -> str:
    low, high = min(values), max(values)
    return f"{low:{form}} to {high:{form}}"
