"""What is wrong with a configuration, collected so that all of it is said at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from sweeplora.errors import UserError, UserErrors

Result = TypeVar("Result")


class Problems:
    """The refusals of a check. A step that needs a group with a refusal is left out: it would only say it again."""

    def __init__(self) -> None:
        self._found: list[UserError] = []

    def attempt(self, needs: Sequence[str], step: Callable[[], Result]) -> Result | None:
        """The step's result; None if it refuses, or if one of the groups (or top-level keys) it needs is refused.

        An error of the file system counts as a refusal of the first group.
        """
        if any(error.key.partition(".")[0] in needs for error in self._found):
            return None
        try:
            return step()
        except UserError as error:
            self.add(error)
        except OSError as error:
            name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
            self.add(UserError(needs[0], name, f"not readable: {error.strerror or error}"))
        return None

    def add(self, error: UserError) -> None:
        """Note a refusal."""
        self._found += error.each

    def refuse(self) -> None:
        """Raise what was found: nothing, a UserError, or UserErrors for several."""
        if len(self._found) == 1:
            raise self._found[0]
        if self._found:
            raise UserErrors(self._found)
