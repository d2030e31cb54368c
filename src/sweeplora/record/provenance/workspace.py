"""A backup of the user's own files in the working directory, stored once per content.

It contains the files that git tracks or would track, including nested checkouts, and the sources that a run may be made
of although git ignores them; without git, or if git refuses, all files except hidden folders, environments and caches.
Outputs, data, models and anything that looks secret stay out. Above the cap the largest files are left out first: a
backup never stops a sweep. The manifest names every file left out, and why.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.content import read_memo, sha256, write_memo
from sweeplora.record.provenance.ask_git import GitError
from sweeplora.record.provenance.exclusions import DATA, SECRET, Exclusions, Rules, is_data
from sweeplora.record.provenance.git import ignored_sources, is_checkout, listed, repository_of
from sweeplora.record.provenance.secret import holds_secret, search_version
from sweeplora.rundir.files import write_whole

FOLDER = "workspaces"
"""Folder below `runs` that holds every backup once."""

GONE = "removed, but not from git's index"
"""Why a file is left out that git tracks and that was not there."""

_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"}
_MOST_FILES = 20_000
_MOST_HASHED = 256 << 20
"""Bytes of files left out that are hashed, so that they can be looked for; the others have their size alone."""

_LEVEL = 6
"""gzip's own default: the highest level takes twice the time for a file one per cent smaller."""


@dataclass(frozen=True)
class Backup:
    """One backup: `name` is `workspace-<12 digits of its content hash>`, `manifest` lists files kept and left out."""

    name: str
    manifest: Mapping[str, Any]


class _File(NamedTuple):
    content: bytes
    mode: int
    sha256: str = ""


def back_up(root: Path, rules: Rules, into: Path, memo: Path | None = None) -> Backup:
    """Write the backup of `root` to `<into>/<name>.tar.gz` unless one with the same content exists.

    `memo` holds hashes of contents that were looked through for secrets, and had none, by this version of the search.
    """
    root = Path(os.path.realpath(root))
    left_out: dict[str, str] = {}
    sizes = dict(_candidates(root, rules, left_out))
    _keep_under(rules.cap_bytes, sizes, left_out)
    known = {} if memo is None else read_memo(memo, search_version())
    kept = dict(_read(root, sizes, left_out, known))
    seen = {_searched(path, file.sha256): "" for path, file in kept.items()}
    if memo is not None and seen != known:
        write_memo(memo, search_version(), seen)
    files = [{"path": path, "size": len(file.content), "sha256": file.sha256} for path, file in kept.items()]
    lines = [f"{file['path']}\0{file['sha256']}\0{kept[str(file['path'])].mode:o}" for file in files]
    name = f"workspace-{hashlib.sha256(os.fsencode(chr(10).join(lines))).hexdigest()[:12]}"
    archive = into / f"{name}.tar.gz"
    if files and not archive.exists():
        into.mkdir(parents=True, exist_ok=True)
        write_whole(archive, _pack(kept))
    room = [_MOST_HASHED]
    out = [{"path": path, "why": why, **_named(root / path, why, room)} for path, why in sorted(left_out.items())]
    return Backup(name if files else "", {"name": name, "root": str(root), "files": files, "left_out": out})


def _named(path: Path, why: str, room: list[int]) -> dict[str, Any]:
    """What finds a file left out again: a link's target, a file's size and hash while `room` (bytes) lasts."""
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return {"link": os.readlink(path)}
        if not stat.S_ISREG(status.st_mode) or why == SECRET:
            return {}
        if status.st_size > room[0]:
            return {"size": status.st_size}
        room[0] -= status.st_size
        return {"size": status.st_size, "sha256": sha256(path)}
    except OSError:
        return {}


def _candidates(root: Path, rules: Rules, left_out: dict[str, str]) -> Iterator[tuple[str, int]]:
    if root in (_home(), Path(root.anchor)):
        left_out["."] = "a home folder is no workspace: run the command in a folder of its own"
        return
    exclusions = Exclusions(rules, root)
    for path in dict.fromkeys([*_paths(root, left_out), *_ignored(root, rules)]):
        whole = root / path
        placed = exclusions.place(whole)
        if placed is not None:
            left_out[placed[0]] = placed[1]
            continue
        try:
            status = os.lstat(whole)
        except (FileNotFoundError, NotADirectoryError):
            left_out[path] = GONE
            continue
        except OSError as error:
            left_out[path] = f"unreadable: {error.strerror}"
            continue
        if not stat.S_ISREG(status.st_mode):
            left_out[path] = "no regular file: a link, a folder, a pipe or a device"
        elif why := exclusions.why_out(whole):
            left_out[path] = why
        else:
            yield path, status.st_size


def _home() -> Path | None:
    """The user's home folder, None if there is none."""
    try:
        return Path(os.path.realpath(Path.home()))
    except RuntimeError:
        return None


def _paths(root: Path, left_out: dict[str, str]) -> Iterator[str]:
    """Files below `root` that may be the user's work, relative to it."""
    if repository_of(root) is None:
        yield from _walk(root, left_out)
        return
    try:
        names = listed(root)
    except GitError as error:
        left_out["."] = f"git does not say which files are tracked, all were looked at: {error}"
        yield from _walk(root, left_out)
        return
    for name in names:
        inside = root / name
        if inside.is_symlink() or not inside.is_dir():
            yield name
            continue
        out: dict[str, str] = {}
        # Git looks into no submodule that is not checked out.
        below = _paths(inside, out) if is_checkout(inside) else _walk(inside, out)
        yield from (f"{name}/{path}" for path in below)
        left_out.update({name if path == "." else f"{name}/{path}": why for path, why in out.items()})


def _ignored(root: Path, rules: Rules) -> list[str]:
    """The user's own sources that git ignores and a run may be made of; none without git, where every file is work."""
    if repository_of(root) is None:
        return []
    try:
        return ignored_sources(root, [place for place in rules.sources if (root / place).is_dir()])
    except GitError:  # told already
        return []


def _walk(root: Path, left_out: dict[str, str]) -> Iterator[str]:
    count = 0

    def unreadable(error: OSError) -> None:
        folder = Path(os.fsdecode(error.filename)).relative_to(root).as_posix()
        left_out[folder] = f"unreadable: {error.strerror}"

    for folder, folders, names in os.walk(root, onerror=unreadable):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_written_by_hand(here / name))
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                left_out["."] = f"more than {_MOST_FILES} files and no git repository: the rest is not looked at"
                return
            yield (here / name).relative_to(root).as_posix()


def _is_written_by_hand(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in _SKIPPED or os.path.lexists(folder / "pyvenv.cfg"))


def _keep_under(cap: int, sizes: dict[str, int], left_out: dict[str, str]) -> None:
    total = sum(sizes.values())
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        if total <= cap:
            return
        total -= sizes.pop(path)
        left_out[path] = "over the cap of tracking.workspace_cap_mib, largest first"


def _searched(path: str, digest: str) -> str:
    """A file as the search for secrets sees it: what counts as one depends on the name's ending."""
    return f"{digest} {Path(path).suffix.lower()}"


def _read(
    root: Path, sizes: Mapping[str, int], left_out: dict[str, str], clean: Container[str]
) -> Iterator[tuple[str, _File]]:
    for path in sorted(sizes):
        try:
            file = _file(root / path, sizes[path])
        except OSError as error:
            left_out[path] = f"unreadable: {error.strerror}"
            continue
        if is_data(file.content):
            left_out[path] = DATA
        elif _searched(path, file.sha256) not in clean and holds_secret(file.content, path):
            left_out[path] = SECRET
        else:
            yield path, file


def _file(path: Path, size: int) -> _File:
    """A file's content, cut at the size it had when it was listed, since it may be growing."""
    # Follow no link and never block, whatever has replaced the file since.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise OSError(0, "no regular file any more")
        content = stream.read(size)
        return _File(content, 0o755 if mode & stat.S_IXUSR else 0o644, hashlib.sha256(content).hexdigest())


def _pack(files: Mapping[str, _File]) -> bytes:
    """Pack files deterministically: the same files give the same bytes at any time and for any user."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, file in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(file.content), file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return stream.getvalue()
