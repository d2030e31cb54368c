"""Checks the checksums inside a base model's `.ckpt`, once for each content."""

from __future__ import annotations

from pathlib import Path

from sweeplora.content import ContentHashes, read_memo, write_memo
from sweeplora.errors import UserError
from sweeplora.models.facts import ModelFacts
from sweeplora.tensors.find import damaged_part

_FORMAT = 1


def refuse_damaged(model: ModelFacts, hashes: ContentHashes, memo: Path) -> None:
    """Raise UserError for a file of the model with bytes that are not those that were written.

    Reading gigabytes takes seconds, so the contents that were found whole are kept in `memo`.
    """
    keys = {stored.file: part.key for part in model.parts.values() for stored in part.tensors.values()}
    known = read_memo(memo, _FORMAT)
    for file, key in keys.items():
        if file.suffix.lower() == ".safetensors" or hashes.file(file) in known:
            continue
        damaged = damaged_part(file)
        if damaged is not None:
            raise UserError(key, file, f"is damaged: {damaged} is not what was written; get the file again")
        known[hashes.file(file)] = True
        write_memo(memo, _FORMAT, known)
