"""Captions: the order of the rules, their rates, and what stays fixed."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from sweeplora.data.captions import CaptionRules, Moment, is_fixed, plain
from sweeplora.data.captions import render as render_at
from tests.data.folders import RULES as PLAIN

FIRST = Moment(epoch=1, step=0, num_steps=100)


def render(caption: str, rules: CaptionRules, draw: random.Random, moment: Moment = FIRST) -> str:
    return render_at(caption, rules, draw, moment)


def _texts(caption: str, rules: CaptionRules, moment: Moment = FIRST) -> set[str]:
    """Everything that a caption can become, as good as surely."""
    return {render(caption, rules, random.Random(seed), moment) for seed in range(400)}


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
    assert not is_fixed(replace(PLAIN, wildcards=True))
    assert not is_fixed(replace(PLAIN, warmup_steps=0.1))
    assert not is_fixed(replace(PLAIN, dropout_every_epochs=3))
    assert not is_fixed(replace(PLAIN, replacements=(("a", ("b", "c")),)))
    assert is_fixed(replace(PLAIN, replacements=(("a", ("b",)),), secondary_separator=";"))


@pytest.mark.parametrize(
    "rules",
    [
        PLAIN,
        replace(PLAIN, prefix="p", suffix="s"),
        replace(PLAIN, secondary_separator=";"),
        replace(PLAIN, replacements=(("b", ("B",)), ("", ("whole",)))),
    ],
)
def test_a_fixed_caption_is_the_same_in_training_and_validation(rules: CaptionRules) -> None:
    for caption in ("a, b;c ,d", "  x\n\ny  ", "{a|b}", ""):
        assert is_fixed(rules)
        assert render(caption, rules, random.Random(0)) == plain(caption, rules)


def test_the_validation_caption_does_not_depend_on_random_rules() -> None:
    rules = replace(PLAIN, prefix="p", shuffle=True, tag_dropout=1.0, dropout=1.0)
    assert plain("a,b\nc", rules) == "p a,b"


def test_the_validation_caption_has_the_first_of_everything() -> None:
    rules = replace(PLAIN, wildcards=True, shuffle=True, keep_tokens_separator="|||", secondary_separator=";")
    assert plain("{a|b} {{c}} ||| d;e, f ||| g\nline", rules) == "a {c}, d,e, f, g"
    assert plain("x", replace(PLAIN, replacements=(("", ("one", "two")),))) == "one"


def test_a_whole_dropped_caption_skips_all_later_rules() -> None:
    rules = replace(PLAIN, dropout=1.0, prefix="p", replacements=(("", ("x",)),))
    assert render("a", rules, random.Random(0)) == ""


def test_every_nth_epoch_counted_from_one_has_no_captions() -> None:
    rules = replace(PLAIN, dropout_every_epochs=3)
    assert [render("a", rules, random.Random(0), Moment(epoch, 0, 9)) for epoch in range(1, 8)] == [
        *("a", "a", ""),
        *("a", "a", ""),
        "a",
    ]


def test_wildcards_give_one_alternative_and_doubled_braces_stay() -> None:
    rules = replace(PLAIN, wildcards=True)
    assert _texts("{a|b} {{x}} {c}", rules) == {"a {x} c", "b {x} c"}
    assert _texts("{a|b} {{x}}", PLAIN) == {"{a|b} {{x}}"}
    assert _texts("{}, {a", rules) == {"{}, {a"}


def test_of_several_lines_wildcards_take_any_and_without_them_the_first_counts() -> None:
    text = "one\n\n  two  \nthree"
    assert _texts(text, replace(PLAIN, wildcards=True)) == {"one", "two", "three"}
    assert _texts(text, PLAIN) == {"one"}
    # As in sd-scripts the prefix stands before the text and the suffix behind it, before a line is chosen.
    assert _texts(text, replace(PLAIN, wildcards=True, prefix="p", suffix="s")) == {"p one", "two", "three s"}
    assert _texts(text, replace(PLAIN, prefix="p", suffix="s")) == {"p one s"}


def test_wildcards_come_before_the_split_and_may_hold_separators() -> None:
    rules = replace(PLAIN, wildcards=True, shuffle=True, keep_tokens=1)
    assert _texts("{a, b|c}, d", rules) == {"a, b, d", "a, d, b", "c, d"}


def test_what_stands_before_the_separator_and_after_its_second_is_kept() -> None:
    rules = replace(PLAIN, shuffle=True, tag_dropout=0.5, keep_tokens_separator="|||")
    texts = _texts("a, b ||| c,, d ||| e, ", rules)
    assert texts == {"a, b, e", "a, b, c, e", "a, b, d, e", "a, b, c, d, e", "a, b, d, c, e"}
    assert _texts("a, b ||| c, d", replace(rules, tag_dropout=0.0)) == {"a, b, c, d", "a, b, d, c"}


def test_a_third_separator_is_text() -> None:
    rules = replace(PLAIN, tag_dropout=1.0, keep_tokens_separator="|||")
    assert render("a ||| b ||| c ||| d", rules, random.Random(0)) == "a, c ||| d"


def test_keep_tokens_counts_only_where_the_separator_is_not() -> None:
    rules = replace(PLAIN, tag_dropout=1.0, keep_tokens=2, keep_tokens_separator="|||")
    assert render("a, b, c", rules, random.Random(0)) == "a, b"
    assert render("a ||| b, c", rules, random.Random(0)) == "a"


def test_warm_up_lengthens_the_flexible_tags_in_a_straight_line() -> None:
    rules = replace(PLAIN, warmup_min=2, warmup_steps=10, keep_tokens=1)
    counts = [
        len(render("k,a,b,c,d,e,f,g", rules, random.Random(0), Moment(1, step, 99)).split(", ")) for step in range(12)
    ]
    # 2 + floor(step x (7 - 2) / 10) flexible ones, and the kept one.
    assert counts == [3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8]


def test_warm_up_below_one_is_a_share_of_all_steps() -> None:
    rules = replace(PLAIN, warmup_min=1, warmup_steps=0.5)
    assert render("a,b,c", rules, random.Random(0), Moment(1, 9, 20)) == "a, b"
    assert render("a,b,c", rules, random.Random(0), Moment(1, 10, 20)) == "a, b, c"


def test_warm_up_cuts_before_the_shuffle_so_that_the_first_tags_are_seen_first() -> None:
    rules = replace(PLAIN, warmup_min=2, warmup_steps=10, shuffle=True)
    assert _texts("a,b,c,d", rules) == {"a, b", "b, a"}


def test_the_secondary_separator_comes_after_the_shuffle_and_before_replacements() -> None:
    rules = replace(PLAIN, shuffle=True, secondary_separator=";;", replacements=(("a,b", ("AB",)),))
    assert _texts("a;;b, c", rules) == {"AB, c", "c, AB"}


def test_replacements_follow_one_another_and_an_empty_text_means_the_whole_caption() -> None:
    rules = replace(PLAIN, replacements=(("a", ("b",)), ("b", ("c", "d"))))
    assert _texts("a b", rules) == {"c c", "d d"}
    assert _texts("a b", replace(PLAIN, replacements=(("", ("x", "y")), ("x", ("z",))))) == {"z", "y"}
