"""A backup of the folder that the command ran in: what a person wrote there, once for equal content.

Kept are the files that git tracks or would track; where there is no git, all but hidden folders, environments and
caches. Never kept: outputs, data, models and weights, anything that looks secret. Over the cap the largest files
stay out first, since a sweep must not die for its backup. The manifest names every file left out, and why.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeplora.record.provenance.git import listed, repository_of
from sweeplora.record.provenance.secret import holds_secret, is_secret_name
from sweeplora.rundir.files import write_whole

FOLDER = "workspaces"
"""Folder below `runs` that holds every backup once."""

_WEIGHTS = {".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".gguf", ".pkl", ".pickle", ".npz", ".npy", ".h5"}
_WEIGHTS |= {".msgpack", ".index"}
_PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".avif", ".tif", ".tiff", ".jxl"}
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "venv", "build", "dist"}
_MOST_FILES = 20_000


@dataclass(frozen=True)
class Rules:
    """What stays out: `outputs` and `inputs` (data, models) by place, the rest by what it is."""

    outputs: tuple[Path, ...]
    inputs: tuple[Path, ...]
    cap_bytes: int


@dataclass(frozen=True)
class Backup:
    """One backup: `name` is `workspace-<12 digits of its content's hash>`, `manifest` lists files in and out."""

    name: str
    manifest: Mapping[str, Any]


def rules_of(config: Mapping[str, Any], runs: Path, cap_mib: float) -> Rules:
    """Rules for a resolved config: every path in its model and data sections is an input."""
    named = [text for section in ("model", "data") for text in _texts(config.get(section) or {})]
    inputs = [Path(text).resolve() for text in named if os.sep in text and Path(text).exists()]
    return Rules((runs.resolve(),), tuple(inputs), int(cap_mib * (1 << 20)))


def back_up(root: Path, rules: Rules, into: Path) -> Backup:
    """Write the backup of `root` to `<into>/<name>.tar.gz` unless one of that content is there."""
    left_out: dict[str, str] = {}
    sizes = dict(_candidates(root, rules, left_out))
    _keep_under(rules.cap_bytes, sizes, left_out)
    contents = dict(_contents(root, sorted(sizes), left_out))
    files = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in contents.items()
    ]
    lines = [f"{file['path']}\0{file['sha256']}\0{_mode(root / str(file['path'])):o}" for file in files]
    name = f"workspace-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:12]}"
    archive = into / f"{name}.tar.gz"
    if files and not archive.exists():
        into.mkdir(parents=True, exist_ok=True)
        write_whole(archive, _pack(root, contents))
    out = [{"path": path, "why": why} for path, why in sorted(left_out.items())]
    return Backup(name if files else "", {"name": name, "root": str(root), "files": files, "left_out": out})


def _candidates(root: Path, rules: Rules, left_out: dict[str, str]) -> Iterator[tuple[str, int]]:
    if root in (Path.home(), Path(root.anchor)):
        left_out["."] = "a home folder is no workspace: run the command in a folder of its own"
        return
    paths = listed(root) if repository_of(root) else _walk(root, left_out)
    data_is_here = any(root.is_relative_to(place) for place in rules.inputs)
    for path in paths:
        whole = root / path
        place = _place(whole, (*rules.outputs, *rules.inputs), root)
        if place is not None:
            left_out[place.relative_to(root).as_posix()] = "outputs" if place in rules.outputs else "data or models"
        elif whole.is_symlink() or not whole.is_file():
            left_out[path] = "a link, a repository of its own, or gone"
        elif whole.suffix.lower() in _WEIGHTS or (data_is_here and whole.suffix.lower() in _PICTURES):
            left_out[path] = "data or models"
        elif is_secret_name(path):
            left_out[path] = "looks secret"
        else:
            yield path, whole.stat().st_size


def _place(path: Path, places: Sequence[Path], root: Path) -> Path | None:
    """The place strictly below `root` that the path lies in."""
    resolved = path.parent.resolve() / path.name
    inside = (place for place in places if place != root and place.is_relative_to(root))
    return next((place for place in inside if resolved.is_relative_to(place)), None)


def _walk(root: Path, left_out: dict[str, str]) -> Iterator[str]:
    count = 0
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(name for name in folders if _is_written_by_hand(here / name))
        for name in sorted(names):
            count += 1
            if count > _MOST_FILES:
                left_out["."] = f"more than {_MOST_FILES} files and no git repository: the rest is not looked at"
                return
            yield (here / name).relative_to(root).as_posix()


def _is_written_by_hand(folder: Path) -> bool:
    return not (folder.name.startswith(".") or folder.name in _SKIPPED or (folder / "pyvenv.cfg").exists())


def _keep_under(cap: int, sizes: dict[str, int], left_out: dict[str, str]) -> None:
    total = sum(sizes.values())
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        if total <= cap:
            return
        total -= sizes.pop(path)
        left_out[path] = "over the cap of tracking.workspace_cap_mib, largest first"


def _contents(root: Path, paths: Sequence[str], left_out: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    for path in paths:
        try:
            content = (root / path).read_bytes()
        except OSError as error:
            left_out[path] = f"unreadable: {error.strerror}"
            continue
        if holds_secret(content):
            left_out[path] = "looks secret"
        else:
            yield path, content


def _pack(root: Path, contents: Mapping[str, bytes]) -> bytes:
    """The same bytes for the same files, whenever and by whomever they are packed."""
    stream = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path, content in contents.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), _mode(root / path)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _mode(path: Path) -> int:
    return 0o755 if os.access(path, os.X_OK) else 0o644


def _texts(tree: Mapping[str, Any]) -> Iterator[str]:
    for value in tree.values():
        if isinstance(value, Mapping):
            yield from _texts(value)
        elif isinstance(value, str):
            yield value
