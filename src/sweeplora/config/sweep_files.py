"""The files of sweeps/ as choices of Hydra's group `sweep`, and the keys in them that other choices override."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweeplora.config import catalog
from sweeplora.errors import UserError


def register(asked: str, replaced: Iterable[str], here: Path) -> None:
    """Make each file of sweeps/ a choice of the group `sweep`; a search path would name the group `sweeps`.

    `replaced`: groups whose keys are dropped from the requested sweep. A file that cannot be read is skipped,
    unless it is the requested one.
    """
    store = ConfigStore.instance()
    for name, file in catalog.sweeps(here).items():
        try:
            node = read(name, file)
        except UserError:
            if name == asked:
                raise
            continue
        if name == asked:
            node = {key: value for key, value in node.items() if key not in set(replaced)}
        folder, _, stem = f"sweep/{name}".rpartition("/")
        store.store(name=stem, node=OmegaConf.create(node), group=folder, package="_global_", provider=str(file))


@functools.lru_cache(maxsize=64)
def replaced_keys(asked: str, chosen: tuple[tuple[str, str], ...], here: Path) -> dict[str, list[str]]:
    """Group -> the keys that a sweep's file sets in it, for groups with another choice on the command line.

    `chosen`: groups, each with its choice on the command line. A choice that equals the file's, or that of
    conf/config.yaml if the file has none, replaces nothing. The files are read once per process.
    """
    content = read(asked, catalog.sweeps(here)[asked])
    own = {**_defaults_of_config(here), **_choices(content.get("defaults"))}
    return {
        group: [f"{group}.{key}" for key in content[group]]
        for group, choice in chosen
        if isinstance(content.get(group), Mapping) and own.get(group) != choice
    }


def read(name: str, file: Path) -> dict[str, Any]:
    """The content of a sweep's file. Raises UserError if it is not valid YAML, not a mapping, or empty."""
    try:
        state = file.stat()
        content = _content(file, state.st_mtime_ns, state.st_size)
    except (YAMLError, UnicodeDecodeError, OSError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise UserError("+sweep", name, f"{file} is not a YAML file of keys and values: {reason}") from error
    if not isinstance(content, dict):
        raise UserError("+sweep", name, f"{file} is not a YAML file of keys and values")
    if not content:
        raise UserError("+sweep", name, f"{file} is empty; give it defaults, sweep.name, sweep.space and the like")
    return {str(key): value for key, value in content.items()}


@functools.lru_cache(maxsize=256)
def _content(file: Path, _modified: int, _bytes: int) -> object:
    """What is in a file, which callers must not modify: every command with a sweep looks into all of them."""
    return OmegaConf.to_container(OmegaConf.load(file), resolve=False)


def _defaults_of_config(here: Path) -> dict[str, str]:
    file = next(conf / "config.yaml" for conf in catalog.folders("conf", here) if (conf / "config.yaml").is_file())
    content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return _choices(content.get("defaults")) if isinstance(content, dict) else {}


def _choices(defaults: object) -> dict[str, str]:
    """Group -> choice of a defaults list, without `override` and a leading slash."""
    entries = [entry for entry in defaults if isinstance(entry, dict)] if isinstance(defaults, list) else []
    pairs = [(str(key), value) for entry in entries for key, value in entry.items()]
    return {key.removeprefix("override ").strip().lstrip("/"): str(value) for key, value in pairs}
