"""An experiment: the configuration that a command line composes to, and what the check finds out about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweeplora.errors import UserError, UserErrors


@dataclass(frozen=True)
class Configuration:
    """A composed configuration that nobody has checked yet.

    `config` is plain resolved data, `yaml` the same as the text that a run folder keeps, `overrides` the words of
    the command line that led to it. A value that is still to be given is "???": a sweep may propose it. `notices`:
    one line for each thing that works but deserves a look.
    """

    config: dict[str, Any]
    yaml: str
    overrides: tuple[str, ...]
    notices: tuple[str, ...]


class NotComposed(UserErrors):
    """Words that cannot be composed; `rest` is the configuration without them, in which more may be wrong."""

    def __init__(self, errors: Sequence[UserError], rest: Configuration) -> None:
        super().__init__(errors)
        self.rest = rest


@dataclass(frozen=True)
class Experiment(Configuration):
    """A configuration that can run.

    `signature` names the experiment: same signature, same result. `contents` and `code` are what the signature is
    made of besides the configuration: content hashes by dotted key, and the hash of the source and the versions of
    the libraries. `steps` counts optimizer steps and `arithmetic` explains them in one line. `validates`: images are
    held out.
    """

    signature: str
    contents: Mapping[str, str]
    code: Mapping[str, str]
    steps: int
    arithmetic: str
    validates: bool


class Group(Mapping[str, Any]):
    """One group of a configuration, frozen: it can be a key of a cache, and is compared by its JSON text.

    1, 1.0 and true are equal in Python and differ in JSON, so two groups that differ in them are two keys.
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
