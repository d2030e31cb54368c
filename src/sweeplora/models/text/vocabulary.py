"""CLIP's byte pairs, shipped with the package for models whose file contains no tokenizer."""

from __future__ import annotations

import functools
import gzip
import itertools
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
Padding = Literal["end", "zero"]
"""The padding of captions: the end token (SD 1.5, SDXL's first encoder) or token 0 (SDXL's second)."""

_NUM_MERGES = 49152 - 256 - 2
"""The file holds more merges. CLIP's tokens are two for each of 256 bytes, one for each merge, start and end."""
_WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class BytePairs(NamedTuple):
    """Token -> id, and the merge pairs in order of priority."""

    vocabulary: dict[str, int]
    merges: list[tuple[str, str]]


@functools.cache
def byte_pairs() -> BytePairs:
    """CLIP's vocabulary of 49,408 tokens (Radford et al. 2021, arXiv:2103.00020), from open_clip's merges."""
    packed = files("sweeplora").joinpath("assets/clip/bpe_simple_vocab_16e6.txt.gz").read_bytes()
    lines = itertools.islice(gzip.decompress(packed).decode().split("\n"), 1, 1 + _NUM_MERGES)
    merges = [(left, right) for left, right in (line.split() for line in lines)]
    letters = list(_letters())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(merge) for merge in merges), START, END]
    return BytePairs({word: number for number, word in enumerate(words)}, merges)


def light_tokenizer() -> Tokenizer:
    """A tokenizer for counting, without transformers: no start, no end, no padding."""
    pairs = byte_pairs()
    return clip_tokenizer(pairs.vocabulary, pairs.merges)


def clip_tokenizer(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    """CLIP's tokenization with any vocabulary: normal form C, single spaces, lower case, byte pairs."""
    from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    model = BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=END)
    tokenizer = Tokenizer(model)
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in (START, END)])
    return tokenizer


def _letters() -> list[str]:
    """A printable character for every byte in CLIP's order: the printable bytes, then the others as 256, 257, …"""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
