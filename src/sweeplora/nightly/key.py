"""What makes two nights comparable: the key of a baseline.

The key holds what is asked, not what answers: the configuration's name and words, the contents of model and data, and
the kind of device. The code, the values of conf/, the versions of the libraries and the machine are no part of it: they
are what a night judges, so they are recorded beside the baseline, compared, and named where something got worse. (A
run's own signature contains all of these, and no night would ever find its baseline by it.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from sweeplora.overrides import parse, written_value
from sweeplora.rundir.signature import teaches_nothing

_DIGITS = 12
_ONE_OF_TWO = {"train.epochs": "train.steps", "train.steps": "train.epochs"}
"""Where one is given the other has to be null: saying so asks nothing more."""


@dataclass(frozen=True)
class Key:
    """`question`: hash of the words, with contents in place of paths; `model`, `data`: hashes of what was read."""

    configuration: str
    question: str
    model: str
    data: str
    device: str

    @property
    def digest(self) -> str:
        """Twelve hex digits of all of it."""
        return _digest(asdict(self))

    def differences(self, other: Key) -> tuple[str, ...]:
        """The names of the parts in which two keys differ."""
        ours, theirs = asdict(self), asdict(other)
        return tuple(name for name in ours if ours[name] != theirs[name])


def key_of(configuration: str, words: Sequence[str], contents: Mapping[str, str], device: str) -> Key:
    """The key of a configuration: `words` are the command line's and its own, `contents` the hashes by dotted key."""
    given = {parse(word).key_or_group for word in words}
    implied = {f"{key}=null" for key, other in _ONE_OF_TWO.items() if other in given}
    asked = [shown for word in words if (shown := _asked(word, contents)) is not None and shown not in implied]
    by_group = {
        group: {key: digest for key, digest in contents.items() if key.partition(".")[0] == group}
        for group in ("model", "data")
    }
    rest = {key: digest for key, digest in contents.items() if key.partition(".")[0] not in by_group}
    return Key(configuration, _digest([asked, rest]), _digest(by_group["model"]), _digest(by_group["data"]), device)


def _asked(word: str, contents: Mapping[str, str]) -> str | None:
    """A word as the key has it; None for one that changes no result, and for the seed."""
    override = parse(word)
    key = override.key_or_group
    if teaches_nothing(key) or key == "seed":
        return None
    return f"{key}=sha256" if key in contents else f"{key}={written_value(override)}"


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:_DIGITS]
