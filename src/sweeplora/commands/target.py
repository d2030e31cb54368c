"""Where a verb writes a file that it was asked for: never over something else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from sweeplora.errors import UserError
from sweeplora.rundir.places import refuse_unreachable


def file_target(key: str, file: str | Path, suffixes: Sequence[str], is_ours: Callable[[Path], bool]) -> Path:
    """The file that option `key` names, absolute. `is_ours`: whether one that is there may be written over.

    Raises UserError for a name with another ending, a folder that is not there, and a file of someone else's.
    """
    target = Path(file).absolute()
    example = f"e.g. {key} mine{suffixes[0]}"
    if target.suffix.lower() not in suffixes:
        raise UserError(key, file, f"give a name that ends in {' or '.join(suffixes)}, {example}")
    refuse_unreachable(key, str(file))
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(key, file, f"give a file in a folder that exists, {example}")
    if os.path.lexists(target) and not (target.is_file() and is_ours(target)):
        raise UserError(key, file, "this file is there already, and was not written so; give another name or remove it")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise UserError(key, file, "cannot be written there; give a file in a folder of your own")
    return target
