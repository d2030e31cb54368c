"""Exceptions for the user to read, and a collector of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")

_SHOWN = 160
_LONGEST_MEND = 1000
# URLs are shown without their password, since the line may end up in a log.
_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s/'\"]*@")


class UserError(Exception):
    """Invalid input: names the key, the given value and how to mend it.

    `str(error)` is one line, and all that the command line prints before it exits with code 2.
    """

    def __init__(self, key: str, value: object, mend: str) -> None:
        super().__init__(key, value, mend)
        self.key = key
        self.value = value
        self.mend = mend

    def __str__(self) -> str:
        line = f"{shortened(self.key)}={shortened(str(self.value))}: {self.mend[:_LONGEST_MEND]}"
        return _printable(_PASSWORD.sub(r"\1:***@", line.replace("\n", " ")))

    @property
    def each(self) -> tuple[UserError, ...]:
        """The single errors in this one: itself."""
        return (self,)


class UserErrors(UserError):
    """Several input errors found at once; key, value and mend are those of the first.

    `str(error)` is one line per error.
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        singles = [single for error in errors for single in error.each]
        super().__init__(singles[0].key, singles[0].value, singles[0].mend)
        self._each = tuple({(single.key, single.mend): single for single in reversed(singles)}.values())[::-1]

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self._each)

    @property
    def each(self) -> tuple[UserError, ...]:
        """The single errors, one per key and mend."""
        return self._each


class Problems:
    """The refusals of a check. A step that needs a refused group is skipped: it would just repeat the error."""

    def __init__(self) -> None:
        self._found: list[UserError] = []

    def attempt(self, needs: Sequence[str], step: Callable[[], Result]) -> Result | None:
        """The step's result; None if it refuses, or if one of the groups (or top-level keys) it needs is refused.

        A file system error counts as a refusal of the first group.
        """
        if any(error.key.partition(".")[0] in needs for error in self._found):
            return None
        try:
            return step()
        except UserError as error:
            self.add(error)
        except OSError as error:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            self.add(UserError(needs[0] if needs else "file", name, f"not readable: {error.strerror or error}"))
        return None

    def add(self, error: UserError) -> None:
        """Add a refusal."""
        self._found += error.each

    def refuse(self) -> None:
        """Raise the refusals found: a UserError for one, UserErrors for several; return if there are none."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise UserErrors(self._found)


def _printable(text: str) -> str:
    """The text with unprintable characters escaped, for terminals and logs."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shortened(text: str) -> str:
    """A text for a message: only the start and the end if it is longer than 160 characters."""
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}… ({len(text)} letters) …{text[-half // 2 :]}"
