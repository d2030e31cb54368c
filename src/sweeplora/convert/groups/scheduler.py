"""Flags about the learning rate's schedule."""

from __future__ import annotations

from typing import Any

from sweeplora.config.nearest import nearest
from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.optimizer_flags import arguments, relative_step, schedule_free
from sweeplora.errors import UserError

_CHOICES = {
    "constant": "constant",
    "constant_with_warmup": "constant",
    "linear": "linear",
    "cosine": "cosine",
    "cosine_with_restarts": "restarts",
    "polynomial": "polynomial",
    "inverse_sqrt": "inverse_sqrt",
    "cosine_with_min_lr": "cosine_min_lr",
    "warmup_stable_decay": "warmup_stable_decay",
    "piecewise_constant": "piecewise",
    "adafactor": "adafactor",
}
_READ_BY: dict[str, tuple[str, ...]] = {
    "lr_scheduler_num_cycles": ("cosine_with_restarts", "cosine_with_min_lr", "warmup_stable_decay"),
    "lr_scheduler_power": ("polynomial",),
    "lr_scheduler_timescale": ("inverse_sqrt",),
    "lr_scheduler_min_lr_ratio": ("cosine_with_min_lr", "warmup_stable_decay"),
    "lr_decay_steps": ("warmup_stable_decay",),
}
"""The schedules that look at a flag; every other ignores it."""
_RENAMED = {"min_lr_ratio": "min_lr_rate", "num_decay_steps": "decay"}
_WARMUP = "lr_warmup_steps"


def entries(given: Given) -> list[Entry]:
    """The group `scheduler`. Raises UserError for combinations that sd-scripts itself refuses."""
    name = given["lr_scheduler"]
    if schedule_free(given):
        return _without(given, "constant", "a schedule-free optimizer has no schedule; sd-scripts ignores it")
    if relative_step(given):
        return _without(given, "adafactor", "Adafactor with its relative step brings its own schedule")
    if given["lr_scheduler_type"]:
        return _class(given)
    if name not in _CHOICES:
        raise UserError("--lr_scheduler", name, f"is not a schedule of sd-scripts; {nearest(name, list(_CHOICES))}")
    if name == "adafactor":
        raise UserError("--lr_scheduler", name, "only with Adafactor and its relative step, in sd-scripts too")
    if name == "constant" and given[_WARMUP]:
        raise UserError(
            f"--{_WARMUP}", given[_WARMUP], "constant has no warm-up in sd-scripts; write constant_with_warmup"
        )
    entries = [given.taken("lr_scheduler", "scheduler", _CHOICES[name])]
    if name == "piecewise_constant":
        return [*entries, *_pieces(given), *_unread(given, name)]
    return [*entries, *_warmup(given), *_own(given, name), *_extra(given, name), *_unread(given, name)]


def _without(given: Given, choice: str, note: str) -> list[Entry]:
    names = ("lr_scheduler", "lr_scheduler_type", "lr_scheduler_args", _WARMUP, *_READ_BY)
    ignored = [no_effect(f"--{name}", note) for name in names if name in given]
    return [Entry("", "default", "scheduler", choice), *ignored]


def _unread(given: Given, name: str) -> list[Entry]:
    note = f"sd-scripts' {name} does not read it"
    return [no_effect(f"--{flag}", note) for flag, readers in _READ_BY.items() if flag in given and name not in readers]


def _warmup(given: Given) -> list[Entry]:
    return [given.taken(_WARMUP, "scheduler.warmup", *_steps(given, given[_WARMUP]))]


def _steps(given: Given, steps: float) -> tuple[float, str]:
    """Effective steps in sd-scripts, where every process advances the count by one."""
    if steps < 1 or given.processes == 1:
        return steps, ""
    note = f"{steps} in sd-scripts, where {given.processes} processes count {given.processes} a step"
    return round(steps / given.processes), note


def _own(given: Given, name: str) -> list[Entry]:
    """The keys specific to a schedule, from the flags it reads."""
    cycles, least = given["lr_scheduler_num_cycles"], given["lr_scheduler_min_lr_ratio"]
    entries: list[Entry] = []
    match name:
        case "cosine":
            said = "num_cycles" in arguments(given, "lr_scheduler_args")
            entries = [] if said else [Entry("--lr_scheduler_args num_cycles", "default", "scheduler.num_cycles", 0.5)]
        case "cosine_with_restarts":
            entries = [given.taken("lr_scheduler_num_cycles", "scheduler.num_cycles", cycles)]
        case "polynomial":
            entries = [given.taken("lr_scheduler_power", "scheduler.power", given["lr_scheduler_power"])]
        case "inverse_sqrt":
            scale = given["lr_scheduler_timescale"]
            steps = (None, "") if scale is None else _steps(given, scale)
            entries = [given.taken("lr_scheduler_timescale", "scheduler.timescale", *steps)]
        case "cosine_with_min_lr" | "warmup_stable_decay":
            halves = given.taken(
                "lr_scheduler_num_cycles", "scheduler.num_cycles", cycles / 2, "sd-scripts counts half waves"
            )
            entries = [halves]
            if least is not None or name == "warmup_stable_decay":
                entries.append(given.taken("lr_scheduler_min_lr_ratio", "scheduler.min_lr_rate", least or 0.0))
    if name == "warmup_stable_decay":
        entries.append(given.taken("lr_decay_steps", "scheduler.decay", *_steps(given, given["lr_decay_steps"])))
    return entries


def _extra(given: Given, name: str) -> list[Entry]:
    said = arguments(given, "lr_scheduler_args")
    entries = []
    for key, value in said.items():
        ours = _RENAMED.get(key, key)
        entries.append(became(f"--lr_scheduler_args {key}", f"scheduler.{ours}", value))
    if name == "cosine_with_min_lr":
        if "min_lr" in said:
            entries.append(Entry("--lr_scheduler_args min_lr", "default", "scheduler.min_lr_rate", None))
        elif given["lr_scheduler_min_lr_ratio"] is None and "min_lr_rate" not in said:
            raise UserError("--lr_scheduler_min_lr_ratio", "", "cosine_with_min_lr needs it, in sd-scripts too")
    return entries


def _pieces(given: Given) -> list[Entry]:
    """Values and the steps until which each holds, from rules such as "1:10,0.1:20,0.01"."""
    rules = arguments(given, "lr_scheduler_args").get("step_rules")
    if not isinstance(rules, str):
        raise UserError("--lr_scheduler_args", rules, "piecewise_constant wants step_rules='1:10,0.1:20,0.01'")
    *pairs, last = rules.split(",")
    try:
        values = [*(float(pair.partition(":")[0]) for pair in pairs), float(last)]
        steps = [_steps(given, int(pair.partition(":")[2])) for pair in pairs]
    except ValueError as error:
        raise UserError("--lr_scheduler_args step_rules", rules, "write value:step,… and a last value") from error
    note = next((said for _, said in steps if said), "")
    return [
        became("--lr_scheduler_args step_rules", "scheduler.values", values),
        became("--lr_scheduler_args step_rules", "scheduler.until", [int(step) for step, _ in steps], note),
        *([no_effect(f"--{_WARMUP}", "piecewise_constant does not read it")] if _WARMUP in given else []),
    ]


def _class(given: Given) -> list[Entry]:
    if given[_WARMUP]:
        raise UserError(f"--{_WARMUP}", given[_WARMUP], "not with --lr_scheduler_type, in sd-scripts too")
    written: str = given["lr_scheduler_type"]
    target = written if "." in written else f"torch.optim.lr_scheduler.{written}"
    make: dict[str, Any] = {"_target_": target, "_partial_": True, **arguments(given, "lr_scheduler_args")}
    many = given.processes > 1
    note = (
        f"in sd-scripts {given.processes} processes advance it {given.processes} times a step: divide its counts"
        if many
        else ""
    )
    named = ("lr_scheduler", _WARMUP, *_READ_BY)
    return [
        became("--lr_scheduler_type", "scheduler", "torch"),
        became("--lr_scheduler_type", "scheduler.make", make, note),
        *([became("--lr_scheduler_args", "", make, "scheduler.make")] if "lr_scheduler_args" in given else []),
        *(no_effect(f"--{name}", "--lr_scheduler_type overrides it") for name in named if name in given),
    ]
