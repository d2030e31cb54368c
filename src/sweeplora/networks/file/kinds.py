"""The kinds of adapters that a file may hold: those of all algorithms in conf/network, shipped or user-defined."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import yaml

from sweeplora.config.catalog import folders, shipped
from sweeplora.errors import UserError
from sweeplora.networks.algorithms import Algorithm, algorithm_of
from sweeplora.networks.file_kind import NORM, FileKind
from sweeplora.rundir.yaml_text import read_yaml

_TARGET = "_target_"


def file_kinds(first: type[Algorithm] | None = None) -> Iterator[FileKind]:
    """Every kind once, in order: the given algorithm's, norms, the shipped algorithms', the user's own.

    A user's modules are imported only when the search reaches them.
    """
    asked = () if first is None else _kinds_of(first)
    own = chain.from_iterable(_kinds_in(folder) for folder in folders("conf", Path.cwd()) if folder != shipped("conf"))
    yield from _once(chain(asked, shipped_kinds(), own))


@functools.lru_cache(maxsize=1)
def shipped_kinds() -> tuple[FileKind, ...]:
    """Norms, and the kinds of the algorithms that ship with the package."""
    return tuple(_once(chain((NORM,), _kinds_in(shipped("conf")))))


def _once(kinds: Iterable[FileKind]) -> Iterator[FileKind]:
    seen: set[FileKind] = set()
    for kind in kinds:
        if kind not in seen:
            seen.add(kind)
            yield kind


def _kinds_in(conf: Path) -> Iterator[FileKind]:
    for target in _targets(conf / "network"):
        yield from _kinds_of(algorithm_of(target))


def _kinds_of(algorithm: type[Algorithm]) -> tuple[FileKind, ...]:
    return (algorithm.FILE, *algorithm.OTHER_FILES)


def _targets(folder: Path) -> list[str]:
    """The `_target_` of each choice in a folder; a choice that extends another may have none."""
    found = []
    for file in sorted(file for file in folder.glob("*.yaml") if file.is_file()):
        try:
            content = read_yaml(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise UserError("network", file, "is no YAML in UTF-8; mend or remove the file") from error
        if isinstance(content, dict) and isinstance(content.get(_TARGET), str):
            found.append(content[_TARGET])
    return found
