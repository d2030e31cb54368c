"""Captions through a text encoder, against the reference's numbers and against the encoder called by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sweeplora.models.text.text import Encoded, TextOptions, encode, open_tokenizer, tokenize
from sweeplora.models.text.tokens import TokenizerFiles
from tests.models import clip_encoders

EXPECTED = json.loads((Path(__file__).parents[2] / "expected/text/encoders.json").read_text())
CASES = EXPECTED["cases"]
SDXL: dict[str, Any] = {"layer": -2, "final_norm": False}


@pytest.fixture(scope="module")
def first() -> nn.Module:
    return clip_encoders.first()


@pytest.fixture(scope="module")
def second() -> nn.Module:
    return clip_encoders.second()


END, ZERO = open_tokenizer(TokenizerFiles(None, "end")), open_tokenizer(TokenizerFiles(None, "zero"))


def name_of(case: dict[str, Any]) -> str:
    return f"{case['kind']}-{case['name']}-{case['max_tokens']}"


def caption_of(case: dict[str, Any]) -> str:
    return str(EXPECTED[case["kind"]][case["name"]])


def assert_same(hidden: Tensor, expected: dict[str, Any]) -> None:
    assert list(hidden.shape) == expected["shape"]
    assert projection(hidden) == pytest.approx(expected["dot"], abs=2e-3)
    assert float(hidden.double().abs().sum()) == pytest.approx(expected["abs"], abs=2e-3)
    for row, values in expected["rows"].items():
        assert hidden[int(row)].tolist() == pytest.approx(values, abs=5e-5)


def projection(hidden: Tensor) -> float:
    """One number that every element of [T, D] takes part in."""
    places = torch.arange(hidden.numel(), dtype=torch.float64) * 0.37
    return float((hidden.double() * torch.cos(places).view(hidden.shape)).sum())


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_chunks_hold_the_references_tokens_and_weights(case: dict[str, Any]) -> None:
    weighted = case["kind"] == "weighted"
    for tokenizer, ids in ((END, case["ids_1"]), (ZERO, case["ids_2"])):
        found = tokenize(tokenizer, [caption_of(case)], case["max_tokens"], weighted)
        padded = [row + [tokenizer.pad_token_id] * (77 - len(row)) for row in ids]
        assert found.ids[0].tolist() == padded
    expected = torch.ones(found.weights.shape[1:])
    for row, weights in enumerate(case.get("weights", [])):
        expected[row, : len(weights)] = torch.tensor(weights)
    torch.testing.assert_close(found.weights[0], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_hidden_states_are_the_references(case: dict[str, Any], first: nn.Module, second: nn.Module) -> None:
    options = TextOptions(case["max_tokens"], **SDXL, weighted=case["kind"] == "weighted")
    one = encode(END, first, [caption_of(case)], options)
    two = encode(ZERO, second, [caption_of(case)], options)
    assert_same(one.hidden[0], case["hidden_1"])
    assert_same(two.hidden[0], case["hidden_2"])
    assert one.pooled is None and two.pooled is not None
    assert two.pooled[0].tolist() == pytest.approx(case["pooled"], abs=5e-5)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_clip_skip_takes_an_earlier_layer_through_the_last_norm(case: dict[str, Any], first: nn.Module) -> None:
    weighted = case["kind"] == "weighted"
    layers = (-1, -2) if weighted else (-1, -1, -2)
    found = [
        encode(END, first, [caption_of(case)], TextOptions(case["max_tokens"], layer, True, weighted))
        for layer in layers
    ]
    assert [projection(one.hidden[0]) for one in found] == pytest.approx(case["sd15"], abs=2e-3)


def test_a_long_caption_is_three_calls_joined(second: nn.Module) -> None:
    words = " ".join(f"cat dog {number % 10}" for number in range(60))
    ids = ZERO(words, add_special_tokens=False).input_ids
    assert 150 < len(ids) < 225
    parts = [ids[0:75], ids[75:150], [*ids[150:], 49407, *[0] * (74 - len(ids[150:]))]]
    ends = [49407, 49407, 0]
    outputs = [
        second(torch.tensor([[49406, *part, end]]), output_hidden_states=True)
        for part, end in zip(parts, ends, strict=True)
    ]
    states = [output.hidden_states[-2][0] for output in outputs]
    joined = torch.cat([states[0][:1], *(state[1:76] for state in states), states[2][76:]])
    found = encode(ZERO, second, ["", words], TextOptions(225, **SDXL, weighted=False))
    torch.testing.assert_close(found.hidden[1], joined)
    assert found.pooled is not None
    torch.testing.assert_close(found.pooled[1], outputs[0].text_embeds[0])


@pytest.mark.parametrize("caption", ["", "a photo of a cat", "word " * 100])
def test_one_chunk_is_the_tokenizers_own_padding_bit_for_bit(caption: str, second: nn.Module) -> None:
    tokens = ZERO([caption], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    output = second(tokens, output_hidden_states=True)
    found = encode(ZERO, second, [caption], TextOptions(75, **SDXL, weighted=False))
    assert torch.equal(found.hidden, output.hidden_states[-2])
    assert found.pooled is not None and torch.equal(found.pooled, output.text_embeds)


def test_the_last_layer_with_the_last_norm_is_the_encoders_output(first: nn.Module) -> None:
    found = encode(END, first, ["a cat"], TextOptions(75, -1, True, False))
    assert torch.equal(found.hidden, first(tokenize(END, ["a cat"], 75).ids[0]).last_hidden_state)


def test_an_exclamation_mark_is_a_word_and_no_padding() -> None:
    alike = [tokenize(tokenizer, ["k-on! wow!?"], 75).ids[0, 0, :8].tolist() for tokenizer in (END, ZERO)]
    assert alike[0] == alike[1] and 0 not in alike[0]


def test_brackets_are_text_where_no_weights_are_asked_for(second: nn.Module) -> None:
    options = {weighted: TextOptions(75, **SDXL, weighted=weighted) for weighted in (False, True)}

    def hidden(caption: str, weighted: bool) -> Encoded:
        return encode(ZERO, second, [caption], options[weighted])

    assert not torch.equal(hidden("a (cat:1.5)", False).hidden, hidden("a (cat:1.5)", True).hidden)
    assert torch.equal(hidden("a cat", False).hidden, hidden("a cat", True).hidden)
    torch.testing.assert_close(hidden("a (cat:1.5)", True).hidden[0, 2], hidden("a cat", False).hidden[0, 2] * 1.5)


def test_gradients_reach_an_encoder_that_trains() -> None:
    encoder = clip_encoders.first().requires_grad_(True)
    encode(END, encoder, ["a (cat:1.2)"], TextOptions(150, **SDXL, weighted=True)).hidden.square().mean().backward()
    assert float(encoder.encoder.layers[0].mlp.fc1.weight.grad.abs().sum()) > 0
