"""CLIP's vocabulary from the package, against a tokenizer put together from the same file by hand."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from pathlib import Path

import pytest
from transformers.models.clip.tokenization_clip import CLIPTokenizer

import sweeplora
from sweeplora.models.text import vocabulary
from sweeplora.models.text.text import open_tokenizer
from sweeplora.models.text.tokens import TokenizerFiles, over_limit

CLIP = Path(sweeplora.__file__).parent / "assets/clip"
TAGS = "1girl, solo, long_hair, blue eyes, k-on!, :3, ^_^, fate/grand order, re:zero, (artist:name), 2b, 16:9, don't"
SAMPLES = [
    TAGS,
    "",
    " ",
    "\t\n  two   spaces \r\n",
    "!!! ??? ... --- ___ '' \"\" ``",
    "it's we've they'll I'm you'd can't IT'S WE'VE",
    "Ünïcödé café naïve Straße ÅNGSTRÖM e\u0301 İstanbul ﬁne ①②③ ½",
    "日本語のキャプション 初音ミク 한국어 русский עברית العربية हिन्दी",
    "😀😃 👩‍👩‍👧‍👦 🏳️‍🌈 ❤️ 🇩🇪",
    "x" * 300,
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "1234567890 3.14159 1e-5 0xff v1.5",
    "<lora:name:0.8> {a|b} [c:d:0.5] \\(escaped\\)",
    "zero\u200bwidth non\u00a0breaking soft\u00adhyphen \ufeff",
    "control \x00\x01\x7f characters",
    "masterpiece,best quality,absurdres,highres",
]


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """vocab.json and merges.txt as OpenAI published them, written from the packaged file."""
    lines = gzip.decompress((CLIP / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    codes = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(code) for code in codes] + [chr(256 + number) for number in range(256 - len(codes))]
    tokens = letters + [letter + "</w>" for letter in letters] + [merge.replace(" ", "") for merge in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder = tmp_path_factory.mktemp("clip")
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return folder


def texts() -> list[str]:
    """The samples, and mixtures of their characters and words."""
    draw = random.Random(3)
    words = [word for sample in SAMPLES for word in sample.split(" ")]
    characters = "".join(SAMPLES) + "".join(chr(code) for code in range(32, 600))
    mixed = [" ".join(draw.choices(words, k=draw.randint(1, 30))) for _ in range(300)]
    noise = ["".join(draw.choices(characters, k=draw.randint(1, 40))) for _ in range(300)]
    return [*SAMPLES, *mixed, *noise]


def test_the_file_is_open_clips() -> None:
    digest = hashlib.sha256((CLIP / "bpe_simple_vocab_16e6.txt.gz").read_bytes()).hexdigest()
    assert digest == "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"


def test_known_tokens_have_clips_numbers() -> None:
    known = vocabulary.byte_pairs().vocabulary
    assert len(known) == 49408
    assert [known[token] for token in ("!", "!</w>", "a</w>", "cat</w>", "photo</w>")] == [0, 256, 320, 2368, 1125]
    assert [known[token] for token in (vocabulary.START, vocabulary.END)] == [49406, 49407]


def test_light_and_heavy_tokenizers_agree_with_one_made_by_hand(by_hand: Path) -> None:
    reference = CLIPTokenizer.from_pretrained(by_hand, local_files_only=True)
    light, end = vocabulary.light_tokenizer(), open_tokenizer(TokenizerFiles(None, "end"))
    for text in texts():
        expected = reference(text).input_ids
        assert end(text).input_ids == expected
        assert light.encode(text, add_special_tokens=False).ids == expected[1:-1], repr(text)


def test_paddings_are_the_end_and_token_zero() -> None:
    end, zero = open_tokenizer(TokenizerFiles(None, "end")), open_tokenizer(TokenizerFiles(None, "zero"))
    assert (end.pad_token_id, zero.pad_token_id) == (49407, 0)
    assert all((made.bos_token_id, made.eos_token_id) == (49406, 49407) for made in (end, zero))
    assert end.model_max_length == zero.model_max_length == 77


def test_counts_are_the_same_from_a_folder_and_from_the_package(by_hand: Path) -> None:
    whole = by_hand / "whole"
    CLIPTokenizer.from_pretrained(by_hand, local_files_only=True).save_pretrained(whole)
    many = texts()
    packaged = over_limit([TokenizerFiles(None)], many, 5)
    assert len(packaged) > 400
    assert over_limit([TokenizerFiles(by_hand)], many, 5) == packaged
    assert over_limit([TokenizerFiles(whole)], many, 5) == packaged


def test_counting_word_by_word_is_counting_the_whole() -> None:
    whole = vocabulary.light_tokenizer()
    whole.encode_special_tokens = True
    many = [text for text in dict.fromkeys(texts()) if text.strip()]
    counted = over_limit([TokenizerFiles(None)], many, 0)
    expected = [len(whole.encode(text, add_special_tokens=False)) for text in many]
    assert [over.count for over in counted] == [count for count in expected if count]
