"""Texts over the limit, named with the count that training would cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweeplora.models.text import vocabulary
from sweeplora.models.text.text import open_tokenizer, tokenize
from sweeplora.models.text.tokens import Over, TokenizerFiles, over_limit

PACKAGED = [TokenizerFiles(None, "end"), TokenizerFiles(None, "zero")]


def test_a_text_over_the_limit_is_named_with_its_count() -> None:
    long, longest = "cat " * 76, "cat, " * 80
    assert over_limit(PACKAGED, ["cat", "cat " * 75, long, longest, long], 75) == [Over(long, 76), Over(longest, 160)]
    assert over_limit(PACKAGED, [long, longest], 150) == [Over(longest, 160)]
    assert over_limit(PACKAGED, [long, longest], 225) == []


def test_every_character_that_makes_several_tokens_counts() -> None:
    signs = "𝅘𝅥𝅮İΐ" * 12
    count = len(open_tokenizer(TokenizerFiles(None))(signs, add_special_tokens=False).input_ids)
    assert count > len(signs)
    assert over_limit(PACKAGED, [signs], count - 1) == [Over(signs, count)]
    assert over_limit(PACKAGED, [signs], count) == []


def test_emphasis_is_not_counted_where_it_is_weight() -> None:
    text = "(cat:1.2) " * 30
    assert over_limit(PACKAGED, [text], 75, weighted=True) == []
    assert over_limit(PACKAGED, [text], 29, weighted=True) == [Over(text, 30)]
    assert over_limit(PACKAGED, [text], 75)[0].count > 100


def test_the_longest_of_several_tokenizers_counts(tmp_path: Path) -> None:
    letters = {letter: number for number, letter in enumerate("ac!t")} | {"t</w>": 4, vocabulary.END: 5}
    (tmp_path / "vocab.json").write_text(json.dumps(letters))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    spelled = TokenizerFiles(tmp_path)
    assert over_limit([*PACKAGED, spelled], ["cat cat"], 2) == [Over("cat cat", 6)]
    assert over_limit(PACKAGED, ["cat cat"], 2) == []


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_models_own_tokenizer_counts_what_encoding_sees(tiny_model: Path, name: str) -> None:
    files = TokenizerFiles(tiny_model / name)
    text = "red apple! 🍎, 12"
    tokens = tokenize(open_tokenizer(files), [text], 75).ids[0, 0].tolist()
    count = tokens.index(open_tokenizer(files).eos_token_id) - 1
    assert over_limit([files], [text], count - 1) == [Over(text, count)]


def test_the_packaged_tokenizer_opens_with_its_padding() -> None:
    assert [open_tokenizer(files).pad_token_id for files in PACKAGED] == [49407, 0]


def test_counting_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys; from sweeplora.models.text.tokens import *; assert 'tokenizers' not in sys.modules;"
        "assert over_limit([TokenizerFiles(None)], ['cat ' * 99], 75);"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
