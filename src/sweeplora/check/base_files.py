"""Checks the numbers of a base model's files, once for each content: their checksums, and that all are finite."""

from __future__ import annotations

from pathlib import Path

from sweeplora.content import ContentHashes, read_memo, write_memo
from sweeplora.errors import UserError
from sweeplora.models.facts import ModelFacts, Part
from sweeplora.tensors.find import damaged_part
from sweeplora.tensors.finite import first_not_finite

_FORMAT = 2


def refuse_damaged(model: ModelFacts, hashes: ContentHashes, memo: Path) -> None:
    """Raise UserError for a file of the model with bytes that were not written so, or with numbers that are not finite.

    Reading gigabytes takes seconds, so the contents that were found whole are kept in `memo`.
    """
    known = read_memo(memo, _FORMAT)
    for name, part in model.parts.items():
        for file in sorted({stored.file for stored in part.tensors.values()}):
            content = f"{name} {hashes.file(file)}"
            if content not in known:
                _refuse(name, part, file)
                known[content] = True
                write_memo(memo, _FORMAT, known)


def _refuse(name: str, part: Part, file: Path) -> None:
    damaged = damaged_part(file)
    if damaged is not None:
        raise UserError(part.key, file, f"is damaged: {damaged} is not what was written; get the file again")
    broken = first_not_finite({key: stored for key, stored in part.tensors.items() if stored.file == file})
    if broken is not None:
        mend = f"{broken} of its {name} has numbers that are not finite (NaN or infinity); get the file again"
        raise UserError(part.key, file, mend)
