"""Named tensors on disk: an entry is a complete file or does not count, and one process writes at a time."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from sweeplora.errors import UserError
from sweeplora.rundir.files import write_whole
from sweeplora.rundir.lock import hold
from sweeplora.tensors.safetensors_header import split

Tensors = dict[str, Tensor]
Make = Callable[[Sequence[str]], Iterable[tuple[str, Tensors]]]

KEPT_BYTES = 512 << 20
"""Memory for the entries of one store: a thousand posteriors of SDXL's size."""

_POLL_SECONDS = 0.1


class EntryStore:
    """Entries below `folder`, one safetensors file each with a checksum in its header.

    One file an entry, because data sets that overlap share entries and a training may die at any moment. Entries stay
    in memory up to `kept_bytes` in all; the others are read again whenever they are asked for. Threads may read at
    once.
    """

    def __init__(self, folder: Path, kept_bytes: int = KEPT_BYTES) -> None:
        self._folder = folder
        self._room = kept_bytes
        self._kept: dict[str, Tensors] = {}
        self._filled: set[str] = set()
        self._keeping = threading.Lock()

    def fill(self, keys: Sequence[str], make: Make, tick: Callable[[int, int], None]) -> None:
        """Give every key a valid entry: `make` gets the keys without one and yields (key, tensors).

        One of several processes makes entries while the others wait. `tick(done, missing)` is called after every entry
        and ten times a second while waiting; an exception from it ends the filling, and entries made until then stay.
        """
        self._filled.update(keys)
        missing = self._missing(keys)
        if not missing:
            return
        with self._alone(tick, len(missing)):
            missing = self._missing(missing)
            for done, (key, tensors) in enumerate(make(missing), start=1):
                path = self._path(key)
                with _refusing_foreign_places():
                    path.parent.mkdir(exist_ok=True)
                    write_whole(path, _pack(tensors))
                self._keep(key, tensors)
                tick(done, len(missing))

    def find(self, key: str) -> Tensors | None:
        """The tensors of a key, None where there is no valid entry."""
        return self._kept.get(key) or self._load(key)

    def read(self, key: str) -> Tensors:
        """The tensors of a key that was filled.

        Raises KeyError for one that was not, and UserError where its file has gone or been damaged since.
        """
        tensors = self.find(key)
        if tensors is None and key in self._filled:
            raise UserError("runs", self._path(key), "the cache entry has gone or been damaged; start the run again")
        if tensors is None:
            raise KeyError(key)
        return tensors

    def _missing(self, keys: Sequence[str]) -> list[str]:
        return [key for key in dict.fromkeys(keys) if key not in self._kept and self._load(key) is None]

    def _load(self, key: str) -> Tensors | None:
        try:
            data = self._path(key).read_bytes()
        except OSError:  # writing it again reports what is wrong with the place, if anything is
            return None
        tensors = _unpack(data)
        if tensors is not None:
            self._keep(key, tensors)
        return tensors

    def _keep(self, key: str, tensors: Tensors) -> None:
        size = sum(tensor.nbytes for tensor in tensors.values())
        with self._keeping:
            if size <= self._room and key not in self._kept:
                self._room -= size
                self._kept[key] = tensors

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.safetensors"

    @contextmanager
    def _alone(self, tick: Callable[[int, int], None], missing: int) -> Iterator[None]:
        while True:
            try:
                with _refusing_foreign_places():
                    self._folder.mkdir(parents=True, exist_ok=True)
                    lock = hold(self._folder / "lock")
                break
            except BlockingIOError:
                tick(0, missing)
                time.sleep(_POLL_SECONDS)
        with lock:
            # Only the holder of the lock writes, so temporary files are leftovers of a process that was killed.
            for leftover in self._folder.glob("*/.*.tmp"):
                leftover.unlink()
            yield


@contextmanager
def _refusing_foreign_places() -> Iterator[None]:
    """Turn a missing permission into a line that says what to do; users who share a cache may read each other's."""
    try:
        yield
    except PermissionError as error:
        mend = (
            f"this user may not write there ({error.strerror}); let its group write (chmod -R g+w, umask 002), or give"
        )
        raise UserError("runs", error.filename, f"{mend} runs=FOLDER of your own") from error


def _pack(tensors: Tensors) -> bytes:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = _checksum(*_parts(safetensors.torch.save(contiguous)))
    return safetensors.torch.save(contiguous, metadata={"checksum": checksum})


def _unpack(data: bytes) -> Tensors | None:
    """The tensors in a file's bytes, or None where the file is not as it was written."""
    try:
        header, content = _parts(data)
        if header.pop("__metadata__")["checksum"] != _checksum(header, content):
            return None
        return safetensors.torch.load(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, safetensors.SafetensorError):
        return None


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """A safetensors file's header, and the bytes of its tensors."""
    header, start = split(data)
    return header, data[start:]


def _checksum(header: dict[str, Any], content: bytes) -> str:
    digest = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    digest.update(content)
    return digest.hexdigest()
