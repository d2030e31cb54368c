"""Files that a command names, looked up from where it runs, including files that its script writes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sweeplora.convert.scripts.text import ScriptCommand, Text
from sweeplora.errors import UserError

_LARGEST = 16 << 20


@dataclass(frozen=True)
class Files:
    """Where a command's relative paths are looked up, in order, and the files that its script wrote before."""

    folders: tuple[Path, ...] = (Path(),)
    folder: str = ""
    written: Mapping[str, Text] = field(default_factory=dict)

    @classmethod
    def of(cls, command: ScriptCommand, script: Path | None) -> Files:
        """The files of a command: below the folder it runs in, then beside its script, then in the current one."""
        beside = [script.parent / command.folder, script.parent] if script is not None else []
        folders = dict.fromkeys([Path(command.folder), *beside, Path()])
        return cls(tuple(folders), command.folder, command.files)

    def find(self, path: str) -> Path | None:
        """The file of that name, or None."""
        for name in dict.fromkeys((path, path.replace("\\", "/"))):
            for folder in self.folders:
                file = folder / Path(name).expanduser()
                try:
                    if file.is_file():
                        return file
                except (OSError, ValueError):
                    continue
        return None

    def read(self, path: str, key: str) -> bytes:
        """A file's content. Raises UserError if there is none, or if only running the script creates it."""
        written = self.written.get(posixpath.normpath(posixpath.join(self.folder, path)))
        written = self.written.get(posixpath.join(self.folder, path), written)
        if written is not None:
            if written.unknowns:
                unknown = written.unknowns[0]
                raise UserError(key, path, f"the script writes it, and {unknown.name} in it {unknown.why}")
            return written.text.encode()
        try:
            file = self.find(path)
        except RuntimeError as error:
            raise UserError(key, path, "names a home folder that does not exist") from error
        if file is None:
            raise UserError(key, path, f"there is no such file{self._looked()}")
        try:
            if file.stat().st_size > _LARGEST:
                raise UserError(key, path, "is too large for a configuration")
            return file.read_bytes()
        except OSError as error:
            raise UserError(key, path, f"cannot be read: {error.strerror}") from error

    def _looked(self) -> str:
        folders = [str(folder) for folder in self.folders if str(folder) != "."]
        return f" here, nor in {', '.join(folders)}" if folders else ""


HERE = Files()
"""The files of a command that no script holds."""
