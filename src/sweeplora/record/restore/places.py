"""Where the paths of a run's record are now."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeplora.record.restore.search import ContentSearch

_SHIPPED = "/sweeplora/assets/"
_FOLDER = "inputs"
"""Below the restored workspace: what was outside of the recorded one."""


@dataclass
class Places:
    """Where recorded paths are now. `paths`: recorded text of the configuration -> text to use; `missing`: not found.

    `then` is the folder that the command ran in, `now` the restored one, `assets` the package's own files. `settled`
    holds the files below `now` that are as recorded, or gone as recorded; `notes` are for the user.
    """

    then: Path
    now: Path
    assets: Path
    search: ContentSearch
    paths: dict[str, str] = field(default_factory=dict)
    missing: list[Mapping[str, Any]] = field(default_factory=list)
    settled: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    _fresh: dict[Path, Path] = field(default_factory=dict)

    def recorded(self, text: str) -> Path:
        """A path of the record as an absolute one of the recorded machine."""
        return Path(os.path.normpath(self.then / Path(text).expanduser()))

    def usual(self, text: str) -> Path:
        """Where a recorded path goes: the package's own files, the same place in the workspace, or `inputs/`."""
        path = self.recorded(text)
        if _SHIPPED in path.as_posix():
            return self.assets / path.as_posix().rpartition(_SHIPPED)[2]
        if path.is_relative_to(self.then):
            return self.now / path.relative_to(self.then)
        return self.fresh(text)

    def named(self, text: str) -> list[Path]:
        """Where a recorded path may be by its name: its usual place, where it was, the folders to look in."""
        recorded = self.recorded(text)
        return [self.usual(text), recorded, *(folder / recorded.name for folder in self.search.folders)]

    def fresh(self, text: str) -> Path:
        """A place below `inputs/` that nothing else has, the same one each time for a path of the record."""
        path = self.recorded(text)
        if path not in self._fresh:
            taken, name, number = set(self._fresh.values()), path.name, 2
            while (place := self._inputs() / name) in taken or os.path.lexists(place):
                name, number = f"{path.stem}-{number}{path.suffix}", number + 1
            self._fresh[path] = place
        return self._fresh[path]

    def _inputs(self) -> Path:
        """`inputs/`, or with a number if the workspace has a file of that name, or a link that leads out of it."""
        names = (f"{_FOLDER}{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
        places = (self.now / name for name in names)
        return next(one for one in places if self.owns(one) and (one.is_dir() or not os.path.lexists(one)))

    def owns(self, place: Path) -> bool:
        """Whether what is written to a place stays in the restored workspace, also through links."""
        return Path(os.path.realpath(place)).is_relative_to(os.path.realpath(self.now))

    def was_inside(self, text: str) -> bool:
        """Whether a recorded path was in the workspace, which has its place in the restored one too."""
        return self.recorded(text).is_relative_to(self.then)

    def use(self, text: str, place: Path) -> None:
        """Use `place` for a path that the configuration writes as `text`."""
        if str(place) == text:
            return
        if Path(text).is_absolute() or not place.is_relative_to(self.now):
            self.paths[text] = str(place)
        elif str(place.relative_to(self.now)) != text.rstrip("/"):
            self.paths[text] = str(place.relative_to(self.now))
