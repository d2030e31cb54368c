"""A byte-pair tokenizer of CLIP's kind, learned from the captions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

MAX_LENGTH = 77
SIZE = 1912
START, END = "<|startoftext|>", "<|endoftext|>"
SUFFIX = "</w>"


def learn_merges(captions: Iterable[str], size: int = SIZE) -> list[tuple[str, str]]:
    """The byte pairs to merge, most frequent first, with words cut as CLIP cuts them.

    `size` bounds the learner's own vocabulary; a caption's whole words fit well below it.
    """
    clip = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE(end_of_word_suffix=SUFFIX))
    learner.normalizer = clip.normalizer
    learner.pre_tokenizer = clip.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=_alphabet(),
        end_of_word_suffix=SUFFIX,
        show_progress=False,
    )
    learner.train_from_iterator(sorted(captions), trainer)
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]


def vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """CLIP's order: 256 bytes, 256 bytes that end a word, the merged pairs, start and end of text."""
    letters = _alphabet()
    tokens = [*letters, *(letter + SUFFIX for letter in letters), *(left + right for left, right in merges), START, END]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def new_tokenizer(merges: list[tuple[str, str]], pad_token: str) -> CLIPTokenizer:
    """A tokenizer with the 77 tokens of CLIP; SDXL pads its first with the end of text, its second with "!"."""
    options: Any = {"vocab": vocabulary(merges), "merges": merges}
    return CLIPTokenizer(**options, pad_token=pad_token, model_max_length=MAX_LENGTH)


def save_tokenizer(tokenizer: CLIPTokenizer, merges: list[tuple[str, str]], folder: Path) -> None:
    """Save it with `vocab.json` and `merges.txt` beside `tokenizer.json`, as folders of SDXL have them."""
    tokenizer.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(vocabulary(merges), ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _alphabet() -> list[str]:
    """The printable stand-ins of the 256 bytes, "!" first."""
    return sorted(pre_tokenizers.ByteLevel.alphabet())
