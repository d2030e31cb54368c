"""The one exception a user is meant to read."""

from __future__ import annotations


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
        return f"{self.key}={self.value}: {self.mend}".replace("\n", " ")
