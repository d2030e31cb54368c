"""A workspace with everything that makes one hard to bring back, and its run's record."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import yaml

from sweeplora.commands.recorded_data import compare
from sweeplora.record.provenance import session
from sweeplora.record.restore.restore import Helpers, Restored, restore
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Attempt, TrialRecord, write_trial
from tests.record.provenance.test_git import run

HELPERS = Helpers(Path("/nowhere"), lambda *_: None, compare)


class Desk:
    """`desk/` with a commit that is pushed to `remote.git`, a submodule, and changes of every kind on top."""

    def __init__(self, parent: Path) -> None:
        self.parent = parent
        self.path = parent / "desk"
        self.remote = parent / "remote.git"
        self.sub = parent / "sub"
        for folder, words in ((self.sub, []), (self.path, []), (self.remote, ["--bare"])):
            folder.mkdir()
            run(folder, "init", "-q", "-b", "work", *words)
        self._commit(self.sub, {"lib.py": b"VALUE = 1\n"})
        files = {"a.txt": b"one\ntwo\n", "old.py": b"x = 1\n" * 20, "gone.py": b"y\n", "blob.dat": bytes(range(256))}
        self._commit(self.path, {**files, "crlf.txt": b"one\r\ntwo\r\n", ".gitignore": b"runs/\n"})
        run(self.path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(self.sub), "ext/sub")
        run(self.path, "commit", "-q", "-m", "with a submodule")
        run(self.path, "remote", "add", "origin", "../remote.git")

    def push(self) -> None:
        """Push the commit to the remote."""
        run(self.path, "push", "-q", "origin", "work")

    def soil(self) -> None:
        """Change files: staged, unstaged, untracked, binary, renamed, removed, executable, in the submodule, a link."""
        (self.path / "a.txt").write_bytes(b"one\ntwo\nthree \n")
        (self.path / "staged.py").write_bytes(b"s = 1\n")
        run(self.path, "add", "staged.py")
        run(self.path, "mv", "old.py", "new.py")
        (self.path / "gone.py").unlink()
        (self.path / "blob.dat").write_bytes(bytes(reversed(range(256))))
        (self.path / "crlf.txt").write_bytes(b"one\r\nthree\r\n")
        (self.path / "untracked").mkdir()
        (self.path / "untracked/own.py").write_bytes(b"own = 1\n")
        (self.path / "untracked/own.py").chmod(0o755)
        (self.path / "link.py").symlink_to("a.txt")
        (self.path / "ext/sub/lib.py").write_bytes(b"VALUE = 2\n")

    def contents(self, root: Path | None = None) -> dict[str, Any]:
        """Every file's bytes and mode, and every link's target, outside of .git and runs; no bytecode."""
        root, found = root or self.path, {}
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if {".git", "runs", "__pycache__"} & set(name.parts) or (path.is_dir() and not path.is_symlink()):
                continue
            mode = path.lstat().st_mode & stat.S_IXUSR
            found[name.as_posix()] = path.readlink() if path.is_symlink() else (path.read_bytes(), mode)
        return found

    def record(self, cap_mib: float = 8.0, **config: Any) -> RunDir:
        """A run folder as a command in the desk leaves it; the caller works in the desk."""
        runs = self.path / "runs"
        folder = runs / "single" / "mine"
        tracked = {"runs": "runs", **config}
        made = RunDir.create(folder, yaml.safe_dump(tracked))
        write_trial(made, TrialRecord("complete", signature="a" * 12, attempts=[Attempt(2e9)]))
        session.record_session(folder, Path("runs"), tracked, cap_mib)
        return made

    def carry_off(self, made: RunDir) -> RunDir:
        """Another machine: what the run recorded is there, the workspace is not."""
        runs = self.parent / "elsewhere"
        shutil.move(self.path / "runs", runs)
        shutil.rmtree(self.path)
        return RunDir(runs / "single" / made.path.name)

    def _commit(self, folder: Path, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        run(folder, "add", ".")
        run(folder, "commit", "-q", "-m", "first")


def bring_back(made: RunDir, into: Path, *look_in: Path) -> Restored:
    """Restore a run without a base model."""
    return restore(made, into, look_in, HELPERS)


def listing(*entries: dict[str, Any]) -> str:
    """A dataset.json."""
    return json.dumps({"name": "mine", "files": list(entries)})
