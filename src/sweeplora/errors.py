"""The exceptions that a user is meant to read."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHOWN = 160
# An address is shown without its password: the line may end in a log.
_PASSWORD = re.compile(r"(://[^\s/:@'\"]*):[^\s/'\"]*@")


class UserError(Exception):
    """Input that cannot work: names the key, the value given and how to mend it.

    `str(error)` is one line and is all that the command line prints before it leaves with exit code 2.
    """

    def __init__(self, key: str, value: object, mend: str) -> None:
        super().__init__(key, value, mend)
        self.key = key
        self.value = value
        self.mend = mend

    def __str__(self) -> str:
        line = f"{shortened(self.key)}={shortened(str(self.value))}: {self.mend}"
        return _PASSWORD.sub(r"\1:***@", line.replace("\n", " "))

    @property
    def each(self) -> tuple[UserError, ...]:
        """The single errors that this one stands for: itself."""
        return (self,)


class UserErrors(UserError):
    """Several things that cannot work, found at once; key, value and mend are those of the first.

    `str(error)` is one line for each.
    """

    def __init__(self, errors: Sequence[UserError]) -> None:
        singles = [single for error in errors for single in error.each]
        super().__init__(singles[0].key, singles[0].value, singles[0].mend)
        self._each = tuple({str(single): single for single in singles}.values())

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self._each)

    @property
    def each(self) -> tuple[UserError, ...]:
        """The single errors, each line once."""
        return self._each


def shortened(text: str) -> str:
    """A text for a message: the start and the end of one that is longer than 160 letters."""
    if len(text) <= _SHOWN:
        return text
    half = _SHOWN // 2
    return f"{text[:half]}… ({len(text)} letters) …{text[-half // 2 :]}"
