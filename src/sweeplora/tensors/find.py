"""Finds the tensors of a weights file of any format from its header alone; no torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path

from sweeplora.tensors.pickled import damaged_record, read_checkpoint
from sweeplora.tensors.safetensors_header import read_safetensors
from sweeplora.tensors.stored import Stored, UnreadableFile

_FILES_REMEMBERED = 16
"""A study checks the same few model files before every trial."""


def find_tensors(file: Path) -> dict[str, Stored]:
    """Every tensor of a .safetensors, or of a .ckpt, .pt or .pth that torch.save wrote, by name.

    A file that did not change is read once per process. Raises UnreadableFile if the file cannot be used,
    FileNotFoundError if it does not exist.
    """
    if file.exists() and not file.is_file():  # opening a pipe would wait for whoever writes to it
        raise UnreadableFile("is no regular file")
    try:
        state = file.stat()
    except OSError:
        return dict(_read(file))  # says what is wrong with it
    return dict(_known(file, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)))


@functools.lru_cache(maxsize=_FILES_REMEMBERED)
def _known(file: Path, state: tuple[int, ...]) -> Mapping[str, Stored]:
    return _read(file)


def _read(file: Path) -> Mapping[str, Stored]:
    return read_safetensors(file) if _is_safetensors(file) else read_checkpoint(file)


def damaged_part(file: Path) -> str | None:
    """What of a weights file that `find_tensors` reads is not what was written, told by checksums; None if nothing.

    Reads a .ckpt, .pt or .pth whole. A .safetensors has no checksums.
    """
    return None if _is_safetensors(file) else damaged_record(file)


def _is_safetensors(file: Path) -> bool:
    return file.suffix.lower() == ".safetensors"
