"""What a checkout of any age composes a night's trainings from: the sweep's file and the words that decide a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sweeplora.config import catalog
from sweeplora.config.sweep_files import read
from sweeplora.experiment import yaml_text
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.signature import UNSIGNED

_NOT_A_TRAININGS = {*UNSIGNED, "nightly"}
"""Top-level keys that say where and how a training happens: the sides' own, and perhaps unknown to an older package."""


def compose_folder(folder: Path, here: Path, sweep: str | None) -> list[str]:
    """Make `folder` one to compose in; returns the words to begin with.

    It has the sweep's file without what no training depends on, and the user's own conf/ if `here` has one. The
    checkout that this package runs from is no user: there, each side composes from the conf/ of its own commit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    conf, own = here / "conf", folder / "conf"
    own.unlink(missing_ok=True)
    if conf.is_dir() and conf.resolve() != catalog.shipped("conf").resolve():
        own.symlink_to(conf.resolve())
    if sweep is None:
        return []
    content = trainings_part(read(sweep, catalog.sweeps(here)[sweep]))
    if not content:
        return []
    file = folder / "sweeps" / f"{sweep}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, f"# @package _global_\n{yaml_text(content)}")
    return [f"+sweep={sweep}"]


def trainings_part(content: Mapping[str, Any]) -> dict[str, Any]:
    """Of a sweep file's content what a training's result depends on."""
    kept = {key: value for key, value in content.items() if key not in _NOT_A_TRAININGS}
    defaults = [entry for entry in kept.pop("defaults", None) or [] if _chooses(entry)]
    return {**({"defaults": defaults} if defaults else {}), **kept}


def _chooses(entry: object) -> bool:
    """Whether an entry of a defaults list chooses a group that a training's result depends on."""
    if not isinstance(entry, Mapping):
        return True
    groups = {str(key).removeprefix("override ").strip().lstrip("/") for key in entry}
    return not groups & _NOT_A_TRAININGS


def training_words(words: Sequence[str]) -> list[str]:
    """Of a command line's words those that a training's result depends on."""
    return [word for word in words if _key(word) not in _NOT_A_TRAININGS]


def runs_word(folder: Path) -> str:
    """The word that has a training keep its cache below `folder`, quoted for Hydra's grammar."""
    escaped = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"runs='{escaped}'"


def sweep_named(words: Sequence[str]) -> str | None:
    """The sweep of `+sweep=NAME` among the words."""
    return next((word.partition("=")[2] for word in words if word.startswith("+sweep=")), None)


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0].partition(".")[0].partition("@")[0].strip()
