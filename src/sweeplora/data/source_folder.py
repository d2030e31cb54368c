"""A folder that a data set reads, and folders that must not lie in each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sweeplora.data.subset import SubsetOptions
from sweeplora.errors import UserError


class SourceFolder(NamedTuple):
    """One folder to read: the key that names it, and the options of its images with their owner's dotted name.

    `mask_dir` holds masks of the images of data.dir or of a subset alone.
    """

    key: str
    dir: str
    owner: str
    options: SubsetOptions
    mask_dir: str | None = None
    is_reg: bool = False

    @property
    def path(self) -> Path:
        """The folder with `~` replaced."""
        return Path(self.dir).expanduser()


def refuse_overlaps(sources: Sequence[SourceFolder], val_dir: str | None) -> None:
    """Raise UserError where images of a folder would be read in two roles, because it lies in another one."""
    trained = [source for source in sources if not source.is_reg]
    for source in sources:
        if source.is_reg:
            role = "its images would be trained on as training and as regularisation images"
            _refuse_overlap(source.key, source.dir, trained, role)
        if source.mask_dir is not None:
            _refuse_overlap(f"{source.owner}.mask_dir", source.mask_dir, sources, "masks would be trained on as images")
    if val_dir is not None:
        _refuse_overlap("data.val_dir", val_dir, sources, "its images would be trained on too")


def _refuse_overlap(key: str, folder: str, others: Sequence[SourceFolder], consequence: str) -> None:
    real = os.path.realpath(Path(folder).expanduser())
    for other in others:
        mend = f"; {consequence}: keep them apart"
        base = os.path.realpath(other.path)
        if real == base:
            raise UserError(key, folder, f"is the same folder as {other.key}{mend}")
        if _is_visible_below(real, base):
            raise UserError(key, folder, f"lies in {other.key}={other.dir}{mend}")
        if _is_visible_below(base, real):
            raise UserError(key, folder, f"{other.key}={other.dir} lies in it{mend}")


def _is_visible_below(path: str, base: str) -> bool:
    """Whether reading `base` would read `path` too: hidden folders are not read."""
    relative = os.path.relpath(path, base)
    return not any(name.startswith(".") for name in relative.split(os.sep))
