"""The state of a training in its run folder: whose it is and how far it got, read without torch."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from sweeplora.rundir.files import read_sealed
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.header import METADATA, read_header
from sweeplora.rundir.yaml_text import read_yaml

ABOUT = "about"
"""The key of the file's metadata that holds an `About` as JSON; `tensors.tree` writes it."""


@dataclass(frozen=True)
class Origin:
    """The experiment that a state belongs to.

    `signature`: see `rundir.signature`. `contents`: dotted key that holds a path -> hash of what is there. `code`: the
    hash of the training's source (`source`) and the versions of the libraries. `version`: sweeplora's.
    """

    signature: str
    contents: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


@dataclass(frozen=True)
class About:
    """What a state's file says about itself: its experiment, and the optimizer steps done of those planned.

    `config`: the resolved configuration without the keys that no result depends on. `best_step`, `best_sha256`: with
    `train.patience`, the best validation's step and the hash of its weights' file beside the state; else 0 and empty.
    """

    origin: Origin
    step: int
    steps: int
    config: Mapping[str, Any] = field(default_factory=dict)
    best_step: int = 0
    best_sha256: str = ""


def here(signature: str, contents: Mapping[str, str], code: Mapping[str, str]) -> Origin:
    """The origin of what this installation makes."""
    return Origin(signature, contents, code, _version())


def read_origin(run: RunDir) -> Origin:
    """The origin of a run by its trial.json; without one, the config's own bytes identify the run."""
    content = read_sealed(run.trial) or {}
    try:
        return here(str(content["signature"]), dict(content["contents"]), dict(content["code"]))
    except (KeyError, TypeError, ValueError):
        return here(f"config {hashlib.sha256(run.config.read_bytes()).hexdigest()[:12]}", {}, {})


def read_about(file: Path) -> About | None:
    """What a state's file says about itself, None if it is missing or does not say; its digest is not checked."""
    try:
        header, _ = read_header(file)
        return about_of(json.loads(header[METADATA][ABOUT]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def about_of(content: Any) -> About:
    """An About from its JSON. Raises ValueError if it is none."""
    try:
        best = int(content.get("best_step", 0)), str(content.get("best_sha256", ""))
        about = About(
            _origin(content["origin"]), int(content["step"]), int(content["steps"]), dict(content["config"]), *best
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError("does not say what experiment it belongs to") from error
    if not 0 <= about.step <= about.steps:
        raise ValueError(f"is at step {about.step} of {about.steps}")
    return about


def difference(theirs: Origin, ours: Origin) -> str | None:
    """Why a state of one origin does not belong to the other; None if it does."""
    if theirs.signature == ours.signature:
        return None
    return code_difference(theirs, ours) or _content_difference(theirs, ours) or "its settings are others"


def code_difference(theirs: Origin, ours: Origin) -> str | None:
    """Why two origins compute differently: another source or another version of a library; None if they do not."""
    for name in sorted({*theirs.code, *ours.code}):
        old, new = theirs.code.get(name, "none"), ours.code.get(name, "none")
        if old != new and name == "source":
            told = "" if theirs.version == ours.version else f" {theirs.version}"
            return f"it was made by another version of sweeplora{told}: the training's code has changed"
        if old != new:
            return f"it was made with {name} {old}, here is {new}"
    return None


def _content_difference(theirs: Origin, ours: Origin) -> str | None:
    for name in sorted({*theirs.contents, *ours.contents}):
        if theirs.contents.get(name) != ours.contents.get(name):
            return f"the contents of {name} are others"
    return None


def parent_of(config: Mapping[str, Any]) -> str | None:
    """The run folder whose state a configuration starts from: relative to `runs` if it is there; None without one."""
    file = config["train"]["resume"]
    if file is None:
        return None
    folder, runs = Path(file).absolute().parent.parent, Path(config["runs"]).absolute()
    return str(folder.relative_to(runs) if folder.is_relative_to(runs) else folder)


def keeps_state(run: RunDir) -> bool:
    """Whether a run's configuration keeps its state when it has ended."""
    try:
        return bool(read_yaml(run.config.read_text())["train"]["keep_state"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return False


def end_state(run: RunDir, ended: str) -> None:
    """Remove the state of a run that ended as complete, diverged or pruned, unless its configuration keeps it.

    That of an interrupted or failed run stays: the same command goes on from it.
    """
    if ended in ("complete", "finished", "diverged", "pruned") and run.checkpoints.exists() and not keeps_state(run):
        drop_state(run)


def drop_state(run: RunDir) -> None:
    """Remove a run's state, so that its next attempt starts at the first step."""
    if run.checkpoints.is_symlink():  # to a larger disk, say: the place stays, what is in it goes
        for file in (run.state, *run.checkpoints.glob("best.*")):
            file.unlink(missing_ok=True)
        return
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def _origin(content: Mapping[str, Any]) -> Origin:
    contents, code = dict(content["contents"]), dict(content["code"])
    return Origin(str(content["signature"]), contents, code, str(content["version"]))


@functools.lru_cache(maxsize=1)
def _version() -> str:
    """The version that this process runs, whatever is installed meanwhile."""
    try:
        return metadata.version("sweeplora")
    except metadata.PackageNotFoundError:
        return ""
