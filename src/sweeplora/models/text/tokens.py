"""Counts the tokens of texts with the model's own tokenizers, without torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.models.text import vocabulary
from sweeplora.models.text.emphasis import pieces
from sweeplora.models.text.vocabulary import Padding

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class TokenizerFiles:
    """Where a tokenizer comes from: a folder, or None for the packaged vocabulary.

    `padding` is the packaged tokenizer's padding token; a folder defines its own.
    """

    folder: Path | None
    padding: Padding = "end"


@dataclass(frozen=True)
class Over:
    """A text that is longer than the model's limit: its token count, excluding start and end."""

    text: str
    count: int


def over_limit(
    tokenizers: Sequence[TokenizerFiles], texts: Iterable[str], max_tokens: int, weighted: bool = False
) -> list[Over]:
    """The texts with more than `max_tokens` tokens, in order, without duplicates.

    The count is the largest over all tokenizers. `weighted`: brackets are emphasis rather than text.
    """
    counters = [_counter(folder) for folder in dict.fromkeys(files.folder for files in tokenizers)]
    counts = {
        text: max(sum(map(counter, _parts(text, weighted))) for counter in counters)
        for text in dict.fromkeys(texts)
        if _most(text) > max_tokens
    }
    return [Over(text, count) for text, count in counts.items() if count > max_tokens]


def _parts(text: str, weighted: bool) -> list[str]:
    return [piece.text for piece in pieces(text)] if weighted else [text]


def _most(text: str) -> int:
    """An upper bound on the token count of a text, since a token covers at least one byte.

    Lower-casing and normal form C lengthen a character at most threefold.
    """
    return len(text) if text.isascii() else 3 * len(text.encode())


@functools.lru_cache(maxsize=8)
def _counter(folder: Path | None) -> Callable[[str], int]:
    """Counts a text's tokens word by word, caching each word: no token spans a space.

    All characters count as text, as when captions are encoded.
    """
    tokenizer = vocabulary.light_tokenizer() if folder is None else _of_folder(folder)
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()

    @functools.cache
    def of_word(word: str) -> int:
        return len(tokenizer.encode(word, add_special_tokens=False))

    return lambda text: sum(map(of_word, text.split(" ")))


def _of_folder(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    whole = folder / "tokenizer.json"
    if whole.is_file():
        return Tokenizer.from_file(str(whole))
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [
        (left, right) for left, _, right in (line.partition(" ") for line in lines) if left != "#version:" and right
    ]
    return vocabulary.clip_tokenizer(json.loads((folder / "vocab.json").read_text(encoding="utf-8")), merges)
