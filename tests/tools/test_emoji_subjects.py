"""Names become captions; the lists of emoji.toml agree with each other."""

from __future__ import annotations

from typing import Any

import pytest

from tools.emoji_model.subjects import TABLES, listed, plain_name, select_subjects


def _entry(short_name: str, name: str, subcategory: str) -> dict[str, Any]:
    return {
        "short_name": short_name,
        "name": name,
        "subcategory": subcategory,
        "image": f"{short_name}.png",
    }


def test_a_caption_is_the_name_and_its_groups() -> None:
    (subject,) = select_subjects([_entry("apple", "RED APPLE", "food-fruit")])
    assert subject.caption == "red apple, food, fruit"


def test_only_listed_emoji_are_learned_and_no_cat_is() -> None:
    entries = [
        _entry("flag-fr", "France Flag", "country-flag"),
        _entry("smile_cat", "GRINNING CAT FACE WITH SMILING EYES", "cat-face"),
        _entry("cat2", "CAT", "animal-mammal"),
        _entry("beer", "BEER MUG", "drink"),
        _entry("beers", "CLINKING BEER MUGS", "drink"),
    ]
    assert [subject.tags[0] for subject in select_subjects(entries)] == ["beer mugs"]


@pytest.mark.parametrize(
    ("formal", "plain"),
    [
        ("LARGE BLUE CIRCLE", "blue circle"),
        ("OK HAND SIGN", "ok hand"),
        ("GRADUATION CAP, BLACK", "graduation cap black"),
        ("T-REX", "t-rex"),
        ("WOMANS HAT", "woman hat"),
    ],
)
def test_names_lose_case_commas_and_formal_words(formal: str, plain: str) -> None:
    assert plain_name(formal) == plain


def _learned() -> list[str]:
    return [name for group in TABLES["groups"].values() for name in group["learned"].split()]


def test_no_emoji_stands_twice_in_a_list() -> None:
    lists = {name: listed(name) for name in ("cats", "style_train", "style_val", "subject_val", "shown")}
    for name, names in {**lists, "learned": _learned()}.items():
        assert len(set(names)) == len(names), name


def test_the_base_model_has_learned_what_the_style_set_and_the_sheet_show() -> None:
    assert {*listed("style_train"), *listed("style_val"), *listed("shown")} <= set(_learned())


def test_held_out_emoji_are_not_trained_on() -> None:
    assert not set(listed("style_val")) & set(listed("style_train"))
    assert set(listed("subject_val")) < set(listed("cats"))
    assert set(TABLES["cat_tags"]) == set(listed("cats"))
    assert not set(listed("cats")) & set(_learned())
