"""What a verb takes among key=value words: the rest is refused before anything is done."""

from __future__ import annotations

from collections.abc import Sequence

from sweeplora.commands.one_run import key_of
from sweeplora.errors import UserError

STORE = ("tracking.uri", "tracking.artifacts", "tracking.experiment")
"""The keys that say where a record is."""


def is_assignment(word: str) -> bool:
    """Whether a word is key=value or ~key, and not the name of something; `./a=b` is the path of a folder."""
    return word.startswith(("+", "~")) or ("=" in word and not word.startswith((".", "/")))


def expect_keys(verb: str, words: Sequence[str], known: Sequence[str]) -> None:
    """Raise UserError for a key=value word whose key the verb does not read.

    An entry of `known` that ends in a dot stands for every key below it.
    """
    for word in words:
        key = key_of(word)
        if not any(key == one or (one.endswith(".") and key.startswith(one)) for one in known):
            listed = ", ".join(f"{one}{'…' if one.endswith('.') else ''}" for one in known)
            raise UserError(*key_and_value(word), f"has no effect on `{verb}`, which reads {listed}; leave it out")


def key_and_value(word: str) -> tuple[str, str]:
    """Key and value of a word as they were written, signs included."""
    key, _, value = word.partition("=")
    return key, value
