"""The workspace's backup over a checkout, or instead of one: every file that it holds, as it was."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.record.provenance.packed import read_backup
from sweeplora.record.provenance.workspace import GONE
from sweeplora.record.restore.checkout import Recorded, tracked
from sweeplora.record.restore.search import ContentSearch, holds, put


class Overlaid(NamedTuple):
    """What the backup changed below the workspace: `written` files; `missing` ones that it does not hold either.

    `trouble`: why the backup could not be read, or not as a whole.
    """

    written: tuple[str, ...]
    missing: tuple[Mapping[str, Any], ...]
    trouble: str | None = None


def overlay(manifest: Mapping[str, Any], archive: Path | None, workspace: Path, search: ContentSearch) -> Overlaid:
    """Make every file of a workspace's manifest as recorded: from its archive, else from the search.

    Files left out of the backup come from the checkout that is there already, or by their hash from the search;
    links are made again. `manifest` is the session's `workspace.json`.
    """
    wanted = {str(file["path"]): file for file in manifest.get("files", []) if stays_inside(str(file["path"]))}
    written, missing = [], list[Mapping[str, Any]]()
    digests = {path: str(file["sha256"]) for path, file in wanted.items()}
    held, trouble = ({}, None) if archive is None else read_backup(archive, digests)
    for path, packed in held.items():
        target = workspace / path
        if not _is(target, packed.content):
            _replace(target, packed.content, workspace)
            written.append(path)
        target.chmod(packed.mode)
    for path, file in wanted.items():
        if not holds(workspace / path, file["sha256"], file["size"]) and not _found(file, workspace / path, search):
            missing.append({**file, "why": "it is neither in the backup nor at the commit"})
    for file in manifest.get("left_out", []):
        target = workspace / str(file["path"])
        if not stays_inside(str(file["path"])) or not _is_reached_inside(target, workspace):
            continue
        if not _came_back(file, target, search):
            missing.append(file)
    return Overlaid(tuple(written), tuple(missing), trouble)


def take_away(manifest: Mapping[str, Any], checkout: Recorded, place: Path) -> list[Path]:
    """Remove the files that git tracks in a restored checkout and that the recorded workspace did not have.

    They are at the commit, and nothing but a patch that does not apply says that they were removed. Returns them.
    """
    root, out = manifest.get("root"), {str(one["path"]) for one in manifest.get("left_out", [])}
    if root is None or "." in out:  # not every file was looked at
        return []
    known, found = {str(one["path"]) for one in manifest.get("files", [])} | out, []
    for name in tracked(place):
        below = Path(os.path.relpath(os.path.join(checkout.root, name), root))
        path = place / name
        is_file = path.is_symlink() or path.is_file()
        if is_file and stays_inside(str(below)) and known.isdisjoint(map(str, (below, *below.parents))):
            path.unlink()
            found.append(path)
    return found


def stays_inside(path: str) -> bool:
    """Whether a relative path of a record leads to nowhere but below the folder that it is relative to."""
    return not os.path.isabs(path) and ".." not in Path(path).parts


def _is_reached_inside(target: Path, workspace: Path) -> bool:
    """Whether no link above a file leads out of the workspace."""
    return Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(workspace))


def _is(target: Path, content: bytes) -> bool:
    if target.is_symlink() or not target.is_file():
        return False
    return hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(content).digest()


def _replace(target: Path, content: bytes, workspace: Path) -> None:
    inside = [parent for parent in target.parents if parent.is_relative_to(workspace) and parent != workspace]
    for parent in reversed(inside):
        if parent.is_symlink() or parent.is_file():
            parent.unlink()  # at the commit this is a file or a link, in the workspace a folder
            break
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.exists():
        target.unlink()
    target.write_bytes(content)


def _found(file: Mapping[str, Any], target: Path, search: ContentSearch) -> bool:
    source = search.find(file["sha256"], file["size"]) if file.get("sha256") else None
    if source is not None:
        put(source, target)
    return source is not None


def _came_back(file: Mapping[str, Any], target: Path, search: ContentSearch) -> bool:
    """Whether a file that the backup left out is as it was; folders of outputs and data, and secrets, are not expected.

    One that was gone is taken away: the commit has it, and the patch may leave its removal out.
    """
    if file.get("why") == GONE:
        if target.is_symlink() or target.is_file():
            target.unlink()
        return True
    if "link" in file:
        if target.is_file() and not target.is_symlink():
            target.unlink()  # at the commit it is a file
        if not os.path.lexists(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file["link"])
        return True
    if "sha256" not in file:
        return "size" not in file or target.is_file()
    return holds(target, file["sha256"], file["size"]) or _found(file, target, search)
