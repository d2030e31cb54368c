"""Captions: the order of the rules, their rates, and what stays fixed."""

from __future__ import annotations

import random
from dataclasses import replace

from sweeplora.data.captions import CaptionRules, is_fixed, plain, render

PLAIN = CaptionRules(prefix="", suffix="", separator=",", shuffle=False, keep_tokens=0, dropout=0.0, tag_dropout=0.0)


def test_a_caption_without_rules_stays_as_it_was_written() -> None:
    assert render("a,b ,  c", PLAIN, random.Random(0)) == "a,b ,  c"


def test_prefix_and_suffix_are_joined_by_one_blank() -> None:
    rules = replace(PLAIN, prefix="in front,", suffix="behind")
    assert render("cat", rules, random.Random(0)) == "in front, cat behind"
    assert render("", rules, random.Random(0)) == "in front, behind"


def test_only_the_first_line_counts() -> None:
    assert render("first, line\nsecond line", replace(PLAIN, suffix="x"), random.Random(0)) == "first, line x"


def test_shuffling_keeps_the_first_tags_and_loses_none() -> None:
    rules = replace(PLAIN, shuffle=True, keep_tokens=2)
    texts = {render("a,b , c,d,e", rules, random.Random(seed)) for seed in range(200)}
    assert all(text.startswith("a, b, ") and sorted(text.split(", ")) == list("abcde") for text in texts)
    assert len(texts) == 6


def test_the_prefix_counts_among_the_kept_tags() -> None:
    rules = replace(PLAIN, prefix="style,", shuffle=True, keep_tokens=1)
    assert all(render("b, c", rules, random.Random(seed)).startswith("style, ") for seed in range(20))


def test_whole_captions_are_empty_at_their_rate_prefix_included() -> None:
    rules = replace(PLAIN, prefix="style,", dropout=0.3)
    draw = random.Random(1)
    texts = [render("b, c", rules, draw) for _ in range(4000)]
    assert set(texts) == {"", "style, b, c"}
    assert abs(texts.count("") / 4000 - 0.3) < 0.03  # four standard deviations


def test_tags_are_dropped_at_their_rate_and_kept_ones_never() -> None:
    rules = replace(PLAIN, tag_dropout=0.25, keep_tokens=1)
    draw = random.Random(2)
    texts = [render("a, b, c", rules, draw).split(", ") for _ in range(4000)]
    assert all(tags[0] == "a" for tags in texts)
    assert abs(sum("c" in tags for tags in texts) / 4000 - 0.75) < 0.03
    assert all(render("a, b, c", replace(rules, tag_dropout=1.0), draw) == "a" for _ in range(20))


def test_another_separator_splits_and_commas_join() -> None:
    rules = replace(PLAIN, separator=";", shuffle=True, keep_tokens=9)
    assert render("a, b; c", rules, random.Random(0)) == "a, b, c"


def test_the_same_draw_gives_the_same_caption() -> None:
    rules = replace(PLAIN, shuffle=True, tag_dropout=0.5, dropout=0.2)
    texts = [[render("a,b,c,d,e", rules, random.Random(seed)) for seed in range(50)] for _ in range(2)]
    assert texts[0] == texts[1]


def test_a_caption_is_fixed_without_any_random_rule() -> None:
    assert is_fixed(replace(PLAIN, prefix="x", suffix="y"))
    assert not is_fixed(replace(PLAIN, shuffle=True))
    assert not is_fixed(replace(PLAIN, dropout=0.1))
    assert not is_fixed(replace(PLAIN, tag_dropout=0.1))


def test_the_validation_caption_does_not_depend_on_random_rules() -> None:
    rules = replace(PLAIN, prefix="p", shuffle=True, tag_dropout=1.0, dropout=1.0)
    assert plain("a,b\nc", rules) == "p a,b"
