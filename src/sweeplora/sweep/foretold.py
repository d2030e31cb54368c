"""What trainings would take, in words: steps, buckets, previews, memory, disk, time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from sweeplora.experiment import Outlook
from sweeplora.launch.slot import Slot
from sweeplora.report.summaries import shown_size
from sweeplora.report.words import clock
from sweeplora.sweep.paces import Pace

_MOST_BUCKETS = 8

Number = TypeVar("Number", int, float)


def lines_of(looks: Sequence[Outlook], pace: Pace | None) -> list[str]:
    """What one training takes; where several are possible, of the first one, with the range that the others make."""
    return [*_steps(looks), *_buckets(looks[0]), _previews(looks[0]), *_memory(looks, pace), *_disk(looks)]


def slots_line(slots: Sequence[Slot]) -> str:
    """Where they would run."""
    each, threads = slots[0].shape
    processes = f"{each} process{'' if each == 1 else 'es'} of {threads} thread{'' if threads == 1 else 's'}"
    return f"where:    {processes} on {slots[0].device}, {len(slots)} at once"


def time_line(looks: Sequence[Outlook], pace: Pace | None, trainings: int, at_once: int) -> str:
    """How long so many trainings take, from what earlier ones took."""
    if pace is None:
        return "time:     unknown: no finished run of this model with such settings is here to go by"
    seconds = max(one.steps * one.batch_size * one.accumulation for one in looks) * pace.seconds
    rounds = -(-trainings // at_once)
    source = (
        f"{pace.seconds:.3g} s an image in {pace.runs} finished run{'' if pace.runs == 1 else 's'} of this model here"
    )
    if trainings == 1:
        return f"time:     about {clock(seconds)}, from {source}"
    most = "" if len({one.steps * one.batch_size * one.accumulation for one in looks}) == 1 else " at most"
    return f"time:     about {clock(rounds * seconds)} ({clock(seconds)} a training{most}), from {source}"


def _steps(looks: Sequence[Outlook]) -> Iterator[str]:
    one = looks[0]
    batches = sum(bucket.batches for bucket in one.buckets)
    yield (
        f"images:   {one.images} images, {one.uses} uses an epoch with their repeats, in {batches} batches of at most "
        f"{one.batch_size} over {one.processes} process{'' if one.processes == 1 else 'es'}"
    )
    whole = one.steps_per_epoch * one.epochs
    cut = "" if whole == one.steps else f", cut to {one.steps}"
    yield (
        f"steps:    {batches} batches / accumulation {one.accumulation} = {one.steps_per_epoch} an epoch, "
        f"x {one.epochs} epochs = {whole}{cut}{_others([look.steps for look in looks], str)}"
    )


def _buckets(one: Outlook) -> Iterator[str]:
    told = [f"{b.width} x {b.height}: {b.uses} in {_batches(b.batches)}" for b in one.buckets[:_MOST_BUCKETS]]
    if len(one.buckets) > _MOST_BUCKETS:
        told.append(f"{len(one.buckets) - _MOST_BUCKETS} more")
    yield f"buckets:  {'; '.join(told)}"


def _batches(count: int) -> str:
    return f"{count} batch{'' if count == 1 else 'es'}"


def _previews(one: Outlook) -> str:
    if not one.drawings:
        return "previews: none"
    times = "once" if one.drawings == 1 else f"{one.drawings} times"
    shares = ", ".join(f"process {rank} draws {count}" for rank, count in enumerate(one.prompts))
    return f"previews: {sum(one.prompts)} prompts, {times}; {shares}"


def _memory(looks: Sequence[Outlook], pace: Pace | None) -> Iterator[str]:
    one = max(looks, key=lambda look: look.memory.base + (look.memory.trained or 0) + (look.memory.optimizer or 0))
    memory = one.memory
    parts = [f"base {shown_size(memory.base)}"]
    if memory.trained is not None and one.parameters is not None:
        parts.append(f"network and gradients {shown_size(memory.trained)} ({one.parameters:,} numbers)")
    if memory.optimizer is not None:
        parts.append(f"optimizer {shown_size(memory.optimizer)}")
    known = memory.base + (memory.trained or 0) + (memory.optimizer or 0)
    unknown = [name for name, size in (("network", memory.trained), ("optimizer", memory.optimizer)) if size is None]
    least = "at most " if len(looks) > 1 else ""
    yield f"memory:   {least}{shown_size(known)} a process: {', '.join(parts)}{_not_counted(unknown)}"
    yield f"          before the first step {shown_size(memory.encoding)} to encode images and captions"
    yield "          activations, libraries and reserves of the allocator come on top: they are not counted"
    if pace is not None and pace.peak is not None:
        yield f"          measured here on this model: {shown_size(pace.peak)} at the peak of {pace.runs} runs"


def _not_counted(unknown: Sequence[str]) -> str:
    return f"; {' and '.join(unknown)} not known" if unknown else ""


def _disk(looks: Sequence[Outlook]) -> Iterator[str]:
    disk = max((look.disk for look in looks), key=lambda one: one.of_a_run)
    weights = (
        "weights not known" if disk.weights is None else f"{disk.files} weights files of {shown_size(disk.weights)}"
    )
    sizes = [look.disk.weights for look in looks if look.disk.weights is not None]
    yield (
        f"disk:     {shown_size(disk.of_a_run)} a run: {weights}{_others(sizes, shown_size)}, "
        f"previews {shown_size(disk.previews)} at most"
    )
    state = "" if disk.state is None else f"; while it runs a state of {shown_size(disk.state)}"
    yield f"          once for all runs on these images {shown_size(disk.caches)} of encoded images and captions{state}"


def _others(numbers: Sequence[Number], shown: Callable[[Number], str]) -> str:
    """The range that several make, in brackets; nothing if all are equal."""
    if len(set(numbers)) < 2:
        return ""
    return f" ({shown(min(numbers))} to {shown(max(numbers))} over what is searched)"
