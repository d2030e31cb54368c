"""How far its training was when a weights file was written, and val/loss there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from sweeplora.report.origin import Origin
from sweeplora.rundir.endings import ending, epoch_in, step_in, step_of
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.naming import read_naming
from sweeplora.rundir.plain_record import read_plain_trial
from sweeplora.rundir.record import DamagedRecord, read_result
from sweeplora.rundir.yaml_text import read_yaml

Series = Mapping[str, Mapping[int, float]]


def progress_of(origin: Origin) -> dict[str, Any]:
    """`epoch` and `step` of a file whose run is known, and `val/loss` at that step or at the last one before it.

    From the metadata; where there is none, from the name that the file has in its run folder. What neither says is
    left out: a file that is known by its signature alone may be of any step.
    """
    series = read_metrics(RunDir(origin.folders[0]).metrics)
    told = _as_drawn(origin) or _as_said(origin.told) or _as_named(origin, series)
    step = told.pop("at", None)
    return told if step is None else {**told, **_value(series.get("val/loss", {}), step)}


def _as_drawn(origin: Origin) -> dict[str, Any]:
    """Progress of a preview, by its name in the run's folder; nothing for weights."""
    if origin.twin is None or origin.twin.parent != RunDir(origin.folders[0]).samples:
        return {}
    step = origin.twin.name.partition("_")[0]
    return {"step": str(int(step)), "at": int(step)} if step.isascii() and step.isdigit() else {}


def _as_said(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Progress by the metadata, `at` the step as a number; nothing where it says no step."""
    step = metadata.get("ss_steps", "")
    if not (step.isascii() and step.isdigit()):
        return {}
    told = {
        "epoch": _of(metadata.get("ss_epoch"), metadata.get("ss_num_epochs")),
        "step": _of(step, metadata.get("ss_max_train_steps")),
    }
    return {**{key: value for key, value in told.items() if value}, "at": int(step)}


def _as_named(origin: Origin, series: Series) -> dict[str, Any]:
    """Progress by a file's name in its run folder; nothing where that is not known, or its step has no metrics."""
    name, run = _name_in(origin)
    epochs, steps = series.get("epoch", {}), [step for values in series.values() for step in values]
    if name is None or not steps:
        return {}
    config = _config(run)
    end = ending(name, read_naming(run, str(config.get("name", ""))).stem)
    step = step_of(end, epochs, max(steps))
    if step is None:
        return {}
    train = config.get("train") or {}
    is_last = epoch_in(end) is None and step_in(end) is None
    if is_last and train.get("patience"):  # the weights of the best step, whose val/loss stands at the last one
        return {"at": step}
    epoch = epoch_in(end) or epochs.get(step)
    planned = (read_plain_trial(run.trial) or {}).get("steps")
    told = {
        "epoch": _of(_text(epoch and int(epoch)), _text(train.get("epochs"))),
        "step": _of(str(step), _text(planned)),
    }
    return {**{key: value for key, value in told.items() if value}, "at": step}


def _name_in(origin: Origin) -> tuple[str | None, RunDir]:
    """The file's name in a run folder, and that; of one that is there no more but recorded as a run's last, that one's.

    None where nothing says which of the run's files it is.
    """
    run = RunDir(origin.folders[0])
    if origin.twin is not None:
        return origin.twin.name, RunDir(origin.twin.parent.parent)
    if origin.clue != "content":
        return None, run
    try:
        result = read_result(run)
    except DamagedRecord:
        return None, run
    return (None if result is None else result.weights), run


def _config(run: RunDir) -> Mapping[str, Any]:
    try:
        config = read_yaml(run.config.read_bytes())
    except (OSError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _of(value: str | None, total: str | None) -> str | None:
    return f"{value} of {total}" if value and total else value


def _value(losses: Mapping[int, float], step: int) -> dict[str, Any]:
    before = [known for known in losses if known <= step]
    if not before:
        return {}
    at = max(before)
    return {"val/loss": losses[at], **({} if at == step else {"val/loss_at_step": at})}
