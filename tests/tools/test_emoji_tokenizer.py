"""The tokenizer learned from captions behaves like CLIP's."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from tools.emoji_model.tokenizer import END, learn_merges, new_tokenizer, save_tokenizer

CAPTIONS = ["red apple, food, fruit", "green apple, food, fruit", "red car, vehicle, road", "tiger face, animal"]


@pytest.fixture(scope="module")
def merges() -> list[tuple[str, str]]:
    return learn_merges(CAPTIONS)


def test_words_of_the_captions_are_single_tokens(merges: list[tuple[str, str]]) -> None:
    tokenizer = new_tokenizer(merges, END)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(CAPTIONS[0]).input_ids)
    expected = ["red</w>", "apple</w>", ",</w>", "food</w>", ",</w>", "fruit</w>"]
    assert tokens == ["<|startoftext|>", *expected, "<|endoftext|>"]


@pytest.mark.parametrize("text", ["red apple", "unheard words 42", "größer ünd schöner", "日本 !?"])
def test_any_text_survives_the_round_trip(merges: list[tuple[str, str]], text: str) -> None:
    tokenizer = new_tokenizer(merges, END)
    decoded = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_captions_are_padded_to_77_with_the_padding_of_each_encoder(merges: list[tuple[str, str]]) -> None:
    for pad, number in ((END, len(new_tokenizer(merges, END)) - 1), ("!", 0)):
        ids = new_tokenizer(merges, pad)("red car", padding="max_length").input_ids
        assert len(ids) == 77
        assert set(ids[4:]) == {number}


def test_the_end_of_text_has_the_highest_number(merges: list[tuple[str, str]]) -> None:
    tokenizer = new_tokenizer(merges, END)
    assert tokenizer.eos_token_id == max(tokenizer.get_vocab().values())


def test_a_saved_tokenizer_reads_back_the_same(merges: list[tuple[str, str]], tmp_path: Path) -> None:
    tokenizer = new_tokenizer(merges, "!")
    save_tokenizer(tokenizer, merges, tmp_path)
    again = CLIPTokenizer.from_pretrained(tmp_path)
    assert again(CAPTIONS).input_ids == tokenizer(CAPTIONS).input_ids
    assert (again.model_max_length, again.pad_token) == (77, "!")
    assert len((tmp_path / "merges.txt").read_text("utf-8").splitlines()) == len(merges) + 1
