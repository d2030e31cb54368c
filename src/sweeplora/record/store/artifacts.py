"""Which files of a folder go to the store and under which names, and a staging folder with that layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sweeplora.record.provenance.secret import without_credentials
from sweeplora.record.provenance.session import FOLDER
from sweeplora.record.provenance.session_files import MANIFEST
from sweeplora.record.store.grid_images import grid_names, thumbnail
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import read_trial

_TEXTS = ("config.yaml", "trial.json", "study.json", "leaderboard.csv", "leaderboard.md", "result.json", "log.txt")
"""Sent without the credentials that may be in them."""
_PLAIN = ("dataset.json", "naming.json", "scores.jsonl", "report.html")
_FOLDERS = ("weights", "plots", "sheets", "nightly", FOLDER)


class Piece(NamedTuple):
    """One file to send; `key` is its path below the mirrored folder."""

    key: str
    source: Path

    @property
    def fingerprint(self) -> str:
        """A string that changes when the file does."""
        status = self.source.stat()
        return f"{status.st_size}:{status.st_mtime_ns}"


def pieces(folder: Path) -> list[Piece]:
    """Every file of a run's or a study's folder that belongs in the record, large ones last."""
    named = [folder / name for name in (*_TEXTS, *_PLAIN)]
    found = [path for path in named if path.is_file()]
    found += list(_visible(folder / "samples", ".png"))
    for name in _FOLDERS:
        found += list(_visible(folder / name, ""))
    return [Piece(path.relative_to(folder).as_posix(), path) for path in found]


def session_pieces(beside: Path, session: Path) -> list[Piece]:
    """The session files of a trial: all but the list of workspace files, which the sweep has."""
    found = (path for path in _visible(session, "") if path.name != MANIFEST)
    return [Piece(path.relative_to(beside).as_posix(), path) for path in found]


def _visible(folder: Path, suffix: str) -> Iterator[Path]:
    if folder.is_dir():
        for path in sorted(folder.rglob(f"*{suffix}")):
            if path.is_file() and not path.name.startswith("."):
                yield path


def stage(some: Iterable[Piece], into: Path, identity: str, started: int) -> None:
    """Arrange the pieces under their names in the store; `identity` and `started` determine the image names."""
    for piece in some:
        if piece.key in _TEXTS:
            _put(into, piece.key, without_credentials(piece.source.read_text(errors="replace")).encode())
            if piece.key == "trial.json":
                _put(into, "overrides.txt", _overrides(piece.source.parent))
        elif piece.key.startswith("samples/"):
            _stage_sample(piece, into, identity, started)
        else:
            _link(into, piece.key, piece.source)


def _stage_sample(piece: Piece, into: Path, identity: str, started: int) -> None:
    names = grid_names(piece.source, identity, started)
    if names is None:
        _link(into, piece.key, piece.source)
    else:
        _link(into, names.picture, piece.source)
        _put(into, names.thumbnail, thumbnail(piece.source))


def _overrides(run: Path) -> bytes:
    record = read_trial(RunDir(run))
    lines = () if record is None else record.overrides
    return "".join(f"{without_credentials(line)}\n" for line in lines).encode()


def _put(into: Path, name: str, content: bytes) -> None:
    target = into / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def _link(into: Path, name: str, source: Path) -> None:
    target = into / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source.resolve())
