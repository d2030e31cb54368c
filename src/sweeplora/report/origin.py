"""Where a weights file or a preview comes from: its run, by content or the signature in it, or what it says alone."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sweeplora.content import sha256
from sweeplora.errors import UserError
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.places import every_run, is_run, runs_with_signature
from sweeplora.tensors.cut_short import cut_short
from sweeplora.tensors.safetensors_header import hash_of_tensors, read_metadata, said_hash
from sweeplora.tensors.stored import UnreadableFile

Clue = Literal["content", "tensors", "signature", "metadata", "nothing"]

SIGNATURE = "sweeplora.signature"
_CHUNK = 1 << 20
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Origin:
    """A weights file and the run folders that it comes from, the likeliest first.

    `clue`: `content` the same bytes are in the folder or recorded there; `tensors` the same tensors under other
    metadata; `signature` the file names the experiment, whose folder has no such file (any more); `metadata` no folder
    is known and the metadata alone tells; `nothing` there is none. `twin` is the same file in the first folder.
    `told` is what its run wrote into it where that is known, else its own metadata. `damage` says that it was cut
    short, or that its tensors were changed.
    """

    file: Path
    sha256: str
    size: int
    metadata: Mapping[str, str]
    clue: Clue
    folders: tuple[Path, ...]
    twin: Path | None
    told: Mapping[str, str]
    damage: str | None = None

    @property
    def signature(self) -> str | None:
        """The signature in the metadata."""
        return self.told.get(SIGNATURE)


def origin_of(file: Path, runs: Path) -> Origin:
    """Find a file's run below `runs`. Raises UserError if the file cannot be read."""
    metadata, start = _metadata(file)
    digest, size = sha256(file), file.stat().st_size
    signature = metadata.get(SIGNATURE)
    signed = runs_with_signature(runs, signature) if signature else []
    everywhere = [*every_run(runs), *_around(file, runs)]
    holding = _holding(signed, file, digest) or _holding(everywhere, file, digest)
    damage = cut_short(file)
    if holding:
        return replace(_origin(file, digest, metadata, "content", holding), damage=damage)
    if start and damage is None:
        tensors, said = hash_of_tensors(file, start), said_hash(metadata)
        equal = [(path, twin) for path, twin in _candidates(everywhere) if _tensors_of(twin) == tensors]
        if equal:
            return _origin(file, digest, metadata, "tensors", equal)
        if SIGNATURE in metadata and said is not None and said != tensors:
            damage = "is not as it was written: its tensors do not have the hash that its metadata says"
    clue: Clue = "signature" if signed else "metadata" if metadata else "nothing"
    return Origin(file, digest, size, metadata, clue, tuple(signed), None, metadata, damage)


def _around(file: Path, runs: Path) -> list[Path]:
    """The run folder that a file lies in, where that is not below `runs`."""
    folder = Path(os.path.realpath(file)).parent.parent
    return [folder] if is_run(folder) and not folder.is_relative_to(os.path.realpath(runs)) else []


def _origin(
    file: Path, digest: str, metadata: Mapping[str, str], clue: Clue, found: Sequence[tuple[Path, Path | None]]
) -> Origin:
    # A run that trained the file comes before those that only link to it.
    folders = sorted(found, key=lambda pair: (_is_linked(pair[0]), pair[1] is None))
    twin = next((twin for _, twin in folders if twin is not None), None)
    told = {**metadata, **(_said_by(twin) if clue == "tensors" and twin is not None else {})}
    return Origin(file, digest, file.stat().st_size, metadata, clue, tuple(path for path, _ in folders), twin, told)


def _metadata(file: Path) -> tuple[dict[str, str], int]:
    """A file's metadata and where its tensors begin; nothing and 0 for a file of another format."""
    try:
        return read_metadata(file)
    except UnreadableFile:
        return {}, 0
    except OSError as error:
        raise UserError("FILE", file, f"not readable: {error.strerror}") from None


def _holding(places: Sequence[Path], file: Path, digest: str) -> list[tuple[Path, Path | None]]:
    """The folders that hold these bytes, or whose training recorded their hash, each with its file."""
    size, drawn, found = file.stat().st_size, _is_picture(file), list[tuple[Path, Path | None]]()
    for place in places:
        run = RunDir(place)
        folders = [run.weights, run.samples] if drawn else [run.weights]
        twin = next((one for folder in folders for one in _files(folder, size) if _equal(one, file)), None)
        if twin is not None or _recorded(place, digest):
            found.append((place, twin))
    return found


def _files(folder: Path, size: int | None = None) -> Iterator[Path]:
    """The files in a folder of a run, of one size (bytes) where it is given."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_file() and not entry.name.startswith(".") and (size is None or entry.stat().st_size == size):
            yield Path(entry.path)


def _is_picture(file: Path) -> bool:
    """Whether a file is a picture as previews are, whatever it is called."""
    with file.open("rb") as stream:
        return stream.read(len(_PNG)) == _PNG


def _candidates(folders: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    for folder in folders:
        for file in _files(RunDir(folder).weights):
            if file.suffix == ".safetensors":
                yield folder, file


def _equal(one: Path, other: Path) -> bool:
    """Whether two files of one size have the same bytes; different weights differ at once."""
    if one.samefile(other):
        return True
    with one.open("rb") as first, other.open("rb") as second:
        while chunk := first.read(_CHUNK):
            if chunk != second.read(_CHUNK):
                return False
    return True


def _recorded(folder: Path, digest: str) -> bool:
    """Whether the training says in result.json that this is the hash of its last weights."""
    try:
        return digest.encode() in RunDir(folder).result.read_bytes()
    except OSError:
        return False


def _is_linked(folder: Path) -> bool:
    """Whether a trial was taken from an earlier run instead of being trained."""
    try:
        return b'"found": "' in RunDir(folder).trial.read_bytes()
    except OSError:
        return True


def _tensors_of(file: Path) -> str | None:
    """The hash of a file's tensors, as it says itself."""
    return said_hash(_said_by(file))


def _said_by(file: Path) -> dict[str, str]:
    """The metadata of a file of a run; nothing if it cannot be read (any more)."""
    try:
        return read_metadata(file)[0]
    except (UnreadableFile, OSError):
        return {}
