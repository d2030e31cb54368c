"""Overrides in, one resolved configuration out: Hydra over the user's conf/ and sweeps/, then the shipped."""

from __future__ import annotations

import functools
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sweeplora.config import catalog
from sweeplora.config.nearest import nearest
from sweeplora.config.sweep_files import register, replaced_keys
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Configuration, NotComposed
from sweeplora.overrides import parse, written_value

_ABOUT_FILES = (
    *(HydraException, OmegaConfBaseException, AssertionError, AttributeError),
    *(OSError, RecursionError, TypeError, ValueError),
)
"""What Hydra raises for a malformed file."""

_ASSETS = Path(__file__).resolve().parents[1] / "assets"


def asset(path: str) -> Path:
    """Absolute path of a file or folder that ships inside the package: the resolver `${asset:...}`."""
    return _ASSETS / path


def compose(overrides: Sequence[str], proposed: Sequence[str] = ()) -> Configuration:
    """Merge conf/, a sweep's file and the command line's overrides, then a study's proposed overrides on top.

    Both kinds of overrides use Hydra's grammar, without `choice(...)` and the like. A group chosen on the command line
    overrides the sweep's file for that group, with a notice; a proposed one does not. The files are read once per
    process and combination of choices: a sweep that runs for a day keeps the configuration that it started with.
    Raises UserError for unknown keys, choices and sweeps, naming the nearest that exist; NotComposed, with the
    configuration without the wrong values, if only values are wrong.
    """
    here = Path.cwd()
    groups = catalog.groups(here)
    problems = Problems()
    parsed = [problems.attempt((), functools.partial(_checked, word, groups, here)) for word in (*overrides, *proposed)]
    problems.refuse()
    words = [override for override in parsed if override is not None]
    given = words[: len(overrides)]
    replaced = _replaced(given, groups, here)
    choices = [o for o in words if _is_choice(o, groups)]
    merged = _merged(choices, tuple(replaced), here)
    values = [o for o in words if not _is_choice(o, groups)]
    errors = _apply(values, merged)
    config = _resolved(merged)
    _expect_all_keys(config, here)
    notices = tuple(
        f"{group}={_choice(o)} replaces what the sweep's file says of it: {', '.join(replaced[group])}"
        for o in given
        if (group := o.key_or_group) in replaced
    )
    configuration = Configuration(config, (*overrides, *proposed), notices)
    if errors:
        raise NotComposed(errors, configuration)
    return configuration


def _checked(word: str, groups: Mapping[str, Sequence[str]], here: Path) -> Override:
    override = parse(word)
    _check_choice(override, groups, here)
    return override


def _replaced(given: Sequence[Override], groups: Mapping[str, Sequence[str]], here: Path) -> dict[str, list[str]]:
    """The keys of the sweep's file that choices on the command line override, by group."""
    asked = [_choice(o) for o in given if o.key_or_group == "sweep" and _is_choice(o, groups)]
    chosen = {o.key_or_group: _choice(o) for o in given if o.key_or_group in groups and _is_choice(o, groups)}
    return replaced_keys(asked[0], tuple(chosen.items()), here) if asked and chosen else {}


def _merged(choices: Sequence[Override], replaced: tuple[str, ...], here: Path) -> DictConfig:
    try:
        files = _merge(tuple(_choice_line(o) for o in choices), replaced, here)
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError("conf", _unreadable(here) or "files", f"not YAML: {_one_line(error)}") from error
    except _ABOUT_FILES as error:
        explained = _explained(error, choices, [])
        if explained.key == "conf":
            raise UserError("conf", _config_file(here), explained.mend) from error
        raise explained from error
    merged = pickle.loads(files)
    assert isinstance(merged, DictConfig)
    return merged


def _apply(values: Sequence[Override], merged: DictConfig) -> list[UserError]:
    """Set each value; returns the errors for those that cannot be set."""
    errors = []
    for override in values:
        try:
            ConfigLoaderImpl._apply_overrides_to_config([override], merged)
        except (HydraException, OmegaConfBaseException, RecursionError) as error:
            errors.append(_explained(error, [override], list(dotted(_plain(merged)))))
        except (TypeError, ValueError, LookupError):  # Hydra's own, for a key that is no place in a list
            mend = "no such key; a list is given whole, as [a,b]"
            errors.append(UserError(override.key_or_group, written_value(override), mend))
    return errors


def _config_file(here: Path) -> Path:
    """The config.yaml that is read: the user's own, or the shipped one."""
    files = [conf / "config.yaml" for conf in catalog.folders("conf", here)]
    return next((file for file in files if file.is_file()), files[-1])


def _unreadable(here: Path) -> Path | None:
    """The first file of conf/ that is not valid YAML."""
    for conf in catalog.folders("conf", here):
        for file in sorted(conf.rglob("*.yaml")):
            try:
                OmegaConf.load(file)
            except (YAMLError, UnicodeDecodeError, OSError):
                return file
    return None


def _expect_all_keys(config: Mapping[str, Any], here: Path) -> None:
    """Raise UserError unless every key of the shipped config.yaml exists in the one that was read."""
    mend = f"{_config_file(here)} needs every line of the shipped conf/config.yaml"
    known = table_of_contents()
    for key in (*known.groups, *known.keys):
        if key not in config:
            raise UserError(key, "missing", mend)
    sweep = config["sweep"]
    if not isinstance(sweep, Mapping):
        raise UserError("sweep", sweep, "give a mapping of name, objective, trials and space")
    asked = ("name", "objective", "trials", "replicates", "confirm", "space")
    for key in (*asked, "constraints", "enqueue", "warm_start", "extend", "batch"):
        if key not in sweep:
            raise UserError(f"sweep.{key}", "missing", mend)
    if not isinstance(sweep["space"], Mapping):
        raise UserError("sweep.space", sweep["space"], "give a mapping of keys to what they may be")


class Contents(NamedTuple):
    """The lines of a config.yaml: its groups, and its own keys."""

    groups: tuple[str, ...]
    keys: tuple[str, ...]


@functools.lru_cache(maxsize=1)
def table_of_contents() -> Contents:
    """The lines of the shipped conf/config.yaml, in order."""
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
def _merge(choices: tuple[str, ...], replaced: tuple[str, ...], here: Path) -> bytes:
    """The merged files, before any value is overridden, pickled: a copy of it is made in a fifth of deepcopy's time."""
    merged = _read(choices, replaced, tuple(catalog.folders("conf", here)), tuple(catalog.folders("sweeps", here)))
    return pickle.dumps(merged)


@functools.lru_cache(maxsize=64)
def _read(choices: tuple[str, ...], replaced: tuple[str, ...], *folders: tuple[Path, ...]) -> DictConfig:
    """`_merge` of the files in these folders of conf/ and sweeps/, those of the working directory."""
    OmegaConf.register_new_resolver("asset", lambda path: str(asset(path)), replace=True)
    Plugins.instance().register(_UserConfFirst)
    for choice in choices:
        if choice.startswith("+sweep="):
            register(_choice(parse(choice)), replaced, Path.cwd())
    with initialize_config_dir(str(catalog.shipped("conf")), version_base="1.3"):
        return hydra_compose("config", overrides=list(choices))


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


def _choice(override: Override) -> str:
    """The name that a choice gives; as written if it looks like a number."""
    value = override.value()
    return value if isinstance(value, str) else written_value(override)


def _choice_line(override: Override) -> str:
    """A choice in Hydra's form: a name that looks like a number or a boolean is quoted."""
    if isinstance(override.value(), str):
        return _line(override)
    return f"{_line(override).partition('=')[0]}='{_choice(override)}'"


def _is_choice(override: Override, groups: Mapping[str, Sequence[str]]) -> bool:
    """Whether it picks a file of a group rather than sets a value: Hydra's own rule."""
    is_group = override.key_or_group == "sweep" or override.key_or_group in groups
    return is_group and not isinstance(override.value(), dict)


def _check_choice(override: Override, groups: Mapping[str, Sequence[str]], here: Path) -> None:
    """Refuse in one line what Hydra would report in twenty, or not at all."""
    key = override.key_or_group
    if key.partition(".")[0] == "hydra":
        mend = "sweeplora composes with Hydra but does not run its jobs: hydra.* has no effect"
        raise UserError(key, written_value(override), mend)
    if override.is_sweep_override():
        mend = "several values need a study, sweep.name=…; one value with a comma needs quotes"
        raise UserError(key, written_value(override), mend)
    if key == "sweep":
        _check_sweep(override, list(catalog.sweeps(here)))
    elif _is_choice(override, groups):
        if _choice(override) not in groups[key]:
            raise UserError(key, written_value(override), _no_such_choice(key, _choice(override), groups[key], here))
        if override.type is not OverrideType.CHANGE:
            sign, _, choice = _line(override).partition("=")
            raise UserError(sign, choice, f"a choice is changed without a sign: {key}={choice}")


def _no_such_choice(group: str, choice: str, known: Sequence[str], here: Path) -> str:
    for conf in catalog.folders("conf", here):
        if (conf / group / f"{choice}.yml").is_file():
            return f"{conf / group / choice}.yml has to be called {choice}.yaml"
    return f"no such choice; there are: {', '.join(known)}"


def _check_sweep(override: Override, known: Sequence[str]) -> None:
    if isinstance(override.value(), dict):
        return
    name = _choice(override)
    if name not in known:
        raise UserError("+sweep", name, f"no such sweep; {nearest(name, known)}")
    if not override.is_add():
        raise UserError("sweep", name, f"a sweep is added with a plus sign: +sweep={name}")


def _explained(error: Exception, overrides: Sequence[Override], known: Sequence[str]) -> UserError:
    """Hydra's error as one line about the override that it names, or about the files."""
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
