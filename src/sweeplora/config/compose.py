"""Overrides in, one resolved configuration out: Hydra over the user's conf/ and sweeps/, then the shipped."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweeplora.config import catalog
from sweeplora.config.nearest import nearest
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration
from sweeplora.overrides import parse, written_value

_ASSETS = Path(__file__).resolve().parents[1] / "assets"


def asset(path: str) -> Path:
    """Absolute path of a file or folder that ships inside the package: the resolver `${asset:...}`."""
    return _ASSETS / path


def compose(overrides: Sequence[str]) -> Configuration:
    """Merge conf/, a sweep's file and `overrides` (Hydra's grammar, without its `choice(...)` and the like).

    The files are read once in a process for each combination of choices: a sweep that runs for a day keeps
    the configuration that it began with. Raises UserError for an unknown key, choice or sweep, naming the
    nearest that exist.
    """
    here = Path.cwd()
    parsed = [parse(word) for word in overrides]
    groups = catalog.groups(here)
    for override in parsed:
        _check_choice(override, groups, here)
    choices = tuple(_line(o) for o in parsed if _is_choice(o, groups))
    values = [o for o in parsed if not _is_choice(o, groups)]
    try:
        merged = _merge(choices, here)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError("conf", "files", f"not YAML: {_one_line(error)}") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, [o for o in parsed if _is_choice(o, groups)], []) from error
    merged = copy.deepcopy(merged)
    try:
        ConfigLoaderImpl._apply_overrides_to_config(values, merged)
    except (HydraException, OmegaConfBaseException) as error:
        raise _explained(error, values, list(dotted(_plain(merged)))) from error
    config = _resolved(merged)
    _expect_all_keys(config)
    return Configuration(config, OmegaConf.to_yaml(OmegaConf.create(config)), tuple(overrides))


def _expect_all_keys(config: Mapping[str, Any]) -> None:
    """Every line of the shipped table of contents is there, whoever wrote the one that was read."""
    known = table_of_contents()
    for key in (*known.groups, *known.keys):
        if key not in config:
            raise UserError(key, "missing", "a config needs every line of the shipped conf/config.yaml")
    sweep = config["sweep"]
    if not isinstance(sweep, Mapping):
        raise UserError("sweep", sweep, "give a mapping of name, objective, trials and space")
    for key in ("name", "objective", "trials", "space"):
        if key not in sweep:
            raise UserError(f"sweep.{key}", "missing", "a config needs every line of the shipped conf/config.yaml")
    if not isinstance(sweep["space"], Mapping):
        raise UserError("sweep.space", sweep["space"], "give a mapping of keys to what they may be")


class Contents(NamedTuple):
    """The lines of a config.yaml: its groups, and its own keys."""

    groups: tuple[str, ...]
    keys: tuple[str, ...]


@functools.lru_cache(maxsize=1)
def table_of_contents() -> Contents:
    """The lines of the shipped conf/config.yaml, in their order."""
    shipped = OmegaConf.to_container(OmegaConf.load(catalog.shipped("conf") / "config.yaml"), resolve=False)
    assert isinstance(shipped, dict)
    groups = [next(iter(entry)) for entry in shipped.pop("defaults") if isinstance(entry, dict)]
    return Contents(tuple(map(str, groups)), tuple(map(str, shipped)))


def dotted(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every key of a nested mapping by its dotted name, parents before their children."""
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from dotted(value, f"{prefix}{key}.")


class _UserConfFirst(SearchPathPlugin):
    """Puts ./conf before the shipped conf/."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for folder in reversed(catalog.folders("conf", Path.cwd())[:-1]):
            search_path.prepend(provider="user", path=f"file://{folder}")


@functools.lru_cache(maxsize=64)
def _merge(choices: tuple[str, ...], here: Path) -> DictConfig:
    """The files alone, before any value is overridden; not to be changed by the caller."""
    OmegaConf.register_new_resolver("asset", lambda path: str(asset(path)), replace=True)
    Plugins.instance().register(_UserConfFirst)
    if any(choice.startswith("+sweep=") for choice in choices):
        _register_sweeps(here)
    with initialize_config_dir(str(catalog.shipped("conf")), version_base="1.3"):
        return hydra_compose("config", overrides=list(choices))


def _register_sweeps(here: Path) -> None:
    """Make each file of sweeps/ a choice of the group `sweep`; a search path would call the group `sweeps`."""
    store = ConfigStore.instance()
    for name, file in catalog.sweeps(here).items():
        try:
            node = OmegaConf.load(file)
        except (YAMLError, UnicodeDecodeError) as error:
            raise UserError("+sweep", name, f"{file} is not YAML: {_one_line(error)}") from error
        store.store(name=name, node=node, group="sweep", package="_global_", provider=str(file))


def _plain(merged: DictConfig) -> dict[str, Any]:
    tree = OmegaConf.to_container(merged, resolve=False)
    assert isinstance(tree, dict)
    return {str(key): value for key, value in tree.items()}


def _resolved(merged: DictConfig) -> dict[str, Any]:
    try:
        config = OmegaConf.to_container(merged, resolve=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key or error.key)
        raise UserError(key, _raw(merged, key), _one_line(error)) from error
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def _raw(merged: DictConfig, key: str) -> object:
    value: object = _plain(merged)
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _line(override: Override) -> str:
    assert override.input_line is not None
    return override.input_line


def _is_choice(override: Override, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether it picks a file of a group rather than sets a value: Hydra's own rule."""
    is_group = override.key_or_group == "sweep" or override.key_or_group in groups
    return is_group and not isinstance(override.value(), dict)


def _check_choice(override: Override, groups: Mapping[str, Sequence[str]], here: Path) -> None:
    """What Hydra would say in twenty lines, or not at all."""
    key, value = override.key_or_group, override.value()
    if key.partition(".")[0] == "hydra":
        mend = "sweeplora composes with Hydra but does not run its jobs: hydra.* has no effect"
        raise UserError(key, written_value(override), mend)
    if override.is_sweep_override():
        mend = "several values need a study, sweep.name=…; one value with a comma needs quotes"
        raise UserError(key, written_value(override), mend)
    if key == "sweep":
        _check_sweep(override, list(catalog.sweeps(here)))
    elif _is_choice(override, groups):
        if not isinstance(value, str) or value not in groups[key]:
            raise UserError(key, written_value(override), f"no such choice; there are: {', '.join(groups[key])}")
        if override.type is not OverrideType.CHANGE:
            sign, _, choice = _line(override).partition("=")
            raise UserError(sign, choice, f"a choice is changed without a sign: {key}={choice}")


def _check_sweep(override: Override, known: Sequence[str]) -> None:
    value = override.value()
    if isinstance(value, dict):
        return
    if not isinstance(value, str) or value not in known:
        raise UserError("+sweep", value, f"no such sweep; {nearest(str(value), known)}")
    if not override.is_add():
        raise UserError("sweep", value, f"a sweep is added with a plus sign: +sweep={value}")


def _explained(error: Exception, overrides: Sequence[Override], known: Sequence[str]) -> UserError:
    """Hydra's complaint as one line about the override that it names, or about the files."""
    text = _one_line(error)
    about = [o for o in overrides if _names(text, _line(o)) or _names(text, o.key_or_group)]
    if not about:
        return UserError("conf", "files", text)
    key, value = about[0].key_or_group, written_value(about[0])
    if len({_line(override) for override in about}) > 1 and key == "sweep":
        return UserError("+sweep", value, "one sweep at a time")
    if known and key not in known:
        return UserError(key, value, f"no such key; {nearest(key, known)}")
    return UserError(key, value, text)


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.]*\w)", text) is not None


def _one_line(error: Exception) -> str:
    said = [str(e) for e in (error, error.__cause__) if e is not None and str(e)]
    text = said[0] if said else type(error).__name__
    return " ".join(text.partition("full_key:")[0].split())
