"""Weights files as MLflow's logged models: one for each file, with the metrics of its step."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sweeplora.rundir.endings import ending, epoch_in, step_in, step_of
from sweeplora.rundir.metrics import MetricsTail, Point

SUFFIXES = (".safetensors", ".ckpt", ".pt")
_ILLEGAL = re.compile(r"[/:.%\"']+")
_OF_A_MODEL = ("val/", "probe/", "loss")


@dataclass(frozen=True)
class Checkpoint:
    """A weights file: its artifact's name, the optimizer step it was written after, and the metrics of that step."""

    key: str
    step: int
    points: tuple[Point, ...]
    is_last: bool = True
    """Whether it is what the training ended with, by its name: not of an epoch or a step."""


def model_name(one: Checkpoint, run: str) -> str:
    """What MLflow lists a weights file as: as its trial's run, values first, `dim 8 · lr 59e-4 (3) @120`.

    `@` is the step of a file before the last. Where `run` is empty, a single run's, the file keeps its own name.
    """
    name = _ILLEGAL.sub("_", run or Path(one.key).stem)
    return f"{name} @{one.step}" if run and not one.is_last else name


def checkpoints(keys: Iterable[str], metrics: Path, ended: bool, stem: str = "") -> list[Checkpoint]:
    """The weights files whose metrics are complete: validated at their step, or followed by a later step or the end.

    `stem`: of the run's last file, which all others' names begin with; empty where it is not known.
    """
    latest = {(point.key, point.step): point for point in MetricsTail(metrics).poll()}
    last = max((step for _, step in latest), default=0)
    epochs = {step: point.value for (key, step), point in latest.items() if key == "epoch"}
    validated = {step for key, step in latest if key == "val/loss"}
    found = []
    for key in sorted(keys):
        end = ending(key, stem)
        step = step_of(end, epochs, last)
        if step is None or not (ended or step in validated or step < last):
            continue
        points = tuple(point for (_, at), point in latest.items() if at == step and point.key.startswith(_OF_A_MODEL))
        found.append(Checkpoint(key, step, points, epoch_in(end) is None and step_in(end) is None))
    return found


def retired(known: Collection[str], there: Collection[str], settings: Mapping[str, str], stem: str = "") -> list[str]:
    """Artifacts of weights that the run's own retention has deleted: `known` were sent, `there` are in the folder.

    `settings` are the run's parameters, `stem` is as in `checkpoints`. Files that are gone for another reason stay in
    the store.
    """
    gone = [key for key in known if key.startswith("weights/") and key not in there]
    if not gone:
        return []
    everything = {*known, *there}
    ends = {key: ending(key, stem) for key in everything}
    epochs = sorted((epoch, key) for key, end in ends.items() if (epoch := epoch_in(end)) is not None)
    steps = {key: step for key, end in ends.items() if (step := step_in(end)) is not None}
    count, window = (_number(settings.get(f"train.save_last_{unit}")) for unit in ("epochs", "steps"))
    deleted = {key for _, key in epochs[:-count]} if count else set()
    newest = max(steps.values(), default=0)
    deleted |= {key for key, step in steps.items() if window and step < newest - window}
    return [key for key in gone if key in deleted]


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0
