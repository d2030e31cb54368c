"""Checks `train.resume`: whether this configuration can go on from that state, and what happens to its schedule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweeplora.config.instantiate import build
from sweeplora.errors import UserError
from sweeplora.rundir.signature import teaches_nothing
from sweeplora.rundir.state import About, Origin, code_difference, read_about
from sweeplora.training.optim.going_on import Course, change_at
from sweeplora.training.patience import best_before

_FREE = ("scheduler", "loss", "noise", "sample")
"""Groups that a training which goes on may have other values of."""

_FREE_KEYS = (
    *("optimizer.lr", "train.resume", "train.epochs", "train.steps", "train.max_grad_norm", "train.max_weight_norm"),
    *("train.min_timestep", "train.max_timestep", "train.gradient_checkpointing", "train.compile", "train.patience"),
)
_FREE_BEGINNINGS = ("train.save_", "train.validate_every_", "train.probe_")
_TARGET = "_target_"
_SCHEDULES = (
    "sweeplora.training.optim.schedules",
    "sweeplora.training.optim.torch_schedules",
    "torch.optim.lr_scheduler",
)
"""Modules of the schedules that a state of anybody's may name."""


def check_resume(config: Mapping[str, Any], origin: Origin, num_steps: int) -> list[str]:
    """Lines about what going on from the state `train.resume` does, none without one.

    `origin` is this experiment's, `num_steps` its whole length, the steps of the state included. Raises UserError for a
    file that is no state, for whatever differs from the training that wrote it and has to be the same, and for a length
    at which the learning rate would jump.
    """
    about = find_state(config["train"]["resume"])
    if about is None:
        return []
    _check_length(about, config, num_steps)
    _check_same(about, config, origin)
    return [*_schedule(about, config, num_steps), *_best(about, config["train"])]


def find_state(given: str | None) -> About | None:
    """What the file `train.resume` says about itself, None if none is given. Raises UserError for no such state."""
    if given is None:
        return None
    file = Path(given)
    about = read_about(file)
    if about is None:
        mend = "is no state of a training" if file.is_file() else "there is no such file"
        raise UserError("train.resume", file, f"{mend}; give checkpoints/state.safetensors of a run folder")
    if about.step == 0:
        raise UserError("train.resume", file, "no step was trained; start without it")
    return about


def _check_length(about: About, config: Mapping[str, Any], num_steps: int) -> None:
    if num_steps <= about.step:
        mend = f"are {num_steps} steps in all, and the state is at step {about.step} of {about.steps}; give more"
        raise UserError(*_length(config), mend)


def _length(config: Mapping[str, Any]) -> tuple[str, int]:
    epochs, steps = config["train"]["epochs"], config["train"]["steps"]
    return ("train.steps", steps) if epochs is None else ("train.epochs", epochs)


def _check_same(about: About, config: Mapping[str, Any], origin: Origin) -> None:
    before, now = dict(_leaves(about.config)), dict(_leaves(config))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and not _is_free(key)]
    for key in changed:
        if key in origin.contents and about.origin.contents.get(key) == origin.contents[key]:
            continue  # the same files at another path
        mend = f"the state was trained with {before.get(key)}, and goes on with that; for another value begin a new run"
        raise UserError(key, now.get(key), f"{mend} from its weights, network.weights=FILE")
    for key, content in origin.contents.items():
        if key not in ("train.resume", "sample.prompts") and about.origin.contents.get(key, content) != content:
            raise UserError(key, now.get(key), "what is there has changed since the state was written; put it back")
    theirs, ours = (_without_source(one) for one in (about.origin, origin))
    if _targets(before) == _targets(now):
        theirs, ours = about.origin, origin
    why = code_difference(theirs, ours)
    if why is not None:
        raise UserError("train.resume", config["train"]["resume"], f"{why}; go on with that version, or begin anew")


def _schedule(about: About, config: Mapping[str, Any], num_steps: int) -> list[str]:
    """What becomes of the learning rate; raises UserError where only the length makes it jump."""
    name = str(config["scheduler"][_TARGET]).rpartition(".")[2]
    told = [f"goes on from step {about.step}, trained to step {about.steps} before, now to step {num_steps}"]
    if not _is_known(about.config.get("scheduler"), config):
        return [*told, f"scheduler={name}: what the schedule before gave is not computed, since it is a user's own"]
    before = Course(build(about.config["scheduler"]), about.steps)
    change = change_at(before, Course(build(config["scheduler"]), num_steps), about.step)
    rates = f"{change.last:.3g} of the full learning rate at the last step, {change.first:.3g} at the next"
    if dict(about.config["scheduler"]) != dict(config["scheduler"]):
        return [*told, f"scheduler={name}: {rates}"]
    if change.jumps:
        mend = f"scheduler={name} would jump, {rates}; choose how it goes on, such as scheduler=constant optimizer.lr=…"
        raise UserError(*_length(config), mend)
    if change.is_none:
        return told
    return [*told, f"scheduler={name} depends on the length: {rates}, {change.as_planned:.3g} as it was planned"]


def _is_known(scheduler: Any, config: Mapping[str, Any]) -> bool:
    """Whether a state's scheduler may be built: no file brings code of its own choice to run."""
    if not isinstance(scheduler, Mapping):
        return False
    others = set(_code_named(scheduler)) - set(_code_named(config["scheduler"]))
    return all(target.rpartition(".")[0] in _SCHEDULES for target in others)


def _code_named(node: Any) -> Iterator[str]:
    """Every target in a tree."""
    if isinstance(node, Mapping):
        yield from (str(value) for key, value in node.items() if key == _TARGET)
    if isinstance(node, Mapping | list | tuple):
        for item in node.values() if isinstance(node, Mapping) else node:
            yield from _code_named(item)


def _best(about: About, train: Mapping[str, Any]) -> list[str]:
    """What becomes of the best validation so far, with patience before and now."""
    if not about.best_step or not train["patience"]:
        return []
    if best_before(Path(train["resume"]), train["save_as"], about.best_sha256) is None:
        where = f"its weights are not beside the state, as best.{train['save_as']}"
        return [f"val/loss was best at step {about.best_step}, but {where}: the best from step {about.step} on counts"]
    return [f"val/loss was best at step {about.best_step}, whose weights stay the result until a validation is better"]


def _is_free(key: str) -> bool:
    group = key.partition(".")[0]
    return teaches_nothing(key) or group in _FREE or key in _FREE_KEYS or key.startswith(_FREE_BEGINNINGS)


def _targets(leaves: Mapping[str, Any]) -> set[str]:
    return {str(value) for key, value in leaves.items() if key.endswith(_TARGET)}


def _without_source(origin: Origin) -> Origin:
    """The origin by its libraries alone: which files a configuration uses belongs to the hash of the source."""
    code = {name: version for name, version in origin.code.items() if name != "source"}
    return Origin(origin.signature, origin.contents, code, origin.version)


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, list(value) if isinstance(value, tuple) else value
