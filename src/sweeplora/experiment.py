"""An experiment: the configuration that a command line composes to, and what the check derives from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.errors import UserError, UserErrors


@dataclass(frozen=True)
class Configuration:
    """A composed configuration, not checked yet.

    `config` is plain resolved data, `yaml` the same as the text stored in a run folder, `overrides` the command line's
    words that led to it. A missing value is "???": a sweep may propose it. `notices`: one line for each thing that
    works but deserves attention.
    """

    config: dict[str, Any]
    yaml: str
    overrides: tuple[str, ...]
    notices: tuple[str, ...]


class NotComposed(UserErrors):
    """Words that do not compose; `rest` is the configuration without them, which may have further errors."""

    def __init__(self, errors: Sequence[UserError], rest: Configuration) -> None:
        super().__init__(errors)
        self.rest = rest


@dataclass(frozen=True)
class Experiment(Configuration):
    """A checked configuration that can run.

    `signature` identifies the experiment: same signature, same result. It covers the configuration, `contents` (content
    hashes by dotted key) and `code` (the hash of the source and the versions of the libraries). `steps` counts
    optimizer steps and `arithmetic` explains the count in one line. `validates`: images are held out.
    """

    signature: str
    contents: Mapping[str, str]
    code: Mapping[str, str]
    steps: int
    arithmetic: str
    validates: bool


class Group(Mapping[str, Any]):
    """One config group, frozen and hashable, so that it can be a cache key; compared by its JSON text.

    1, 1.0 and true are equal in Python but differ in JSON, so groups that differ in them are different keys.
    """

    __slots__ = ("_content", "_text")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = dict(content)
        self._text = json.dumps(self._content)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Group({self._text})"
