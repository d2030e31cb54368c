from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from sweeplora.errors import UserError
from sweeplora.overrides import parse, text_of
from sweeplora.sweep.search.grammar import on_command_line, parse_space, split_command_line
from sweeplora.sweep.search.proposals import every_choice, propose, size
from sweeplora.sweep.search.searchers import grid_points
from sweeplora.sweep.search.space import Choice, Dimension, Fixed, Interval, Space, Steps, all_keys, texts_of


def dimension_of(text: object) -> Dimension:
    """One dimension of a space."""
    return parse_space({"network.dim": text}).dimensions["network.dim"]


BRANCHED: dict[str, Any] = {
    "optimizer": "choice(adamw, prodigy)",
    "optimizer=adamw": {"optimizer.lr": "tag(log, interval(1e-5, 1e-3))"},
    "optimizer=prodigy": {"optimizer.lr": 1.0},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("choice(4, 8)", Choice(("4", "8"), (4, 8))),
        ("4,8", Choice(("4", "8"), (4, 8))),
        ("choice(null, 5.0)", Choice(("null", "5.0"), (None, 5.0))),
        ("choice(1e-3, 0.01)", Choice(("0.001", "0.01"), (0.001, 0.01))),
        ("choice([0.9,0.99], [0.9,0.999])", Choice(("[0.9,0.99]", "[0.9,0.999]"), ("[0.9,0.99]", "[0.9,0.999]"))),
        ("choice('two words', plain)", Choice(("two\\ words", "plain"), ("two words", "plain"))),
        ("choice(1, 1.0, true)", Choice(("1", "1.0", "True"), ("1", "1.0", "True"))),
        ("choice(4, 4)", Choice(("4",), (4,))),
        ("range(1, 4)", Steps(Decimal(1), Decimal(3), Decimal(1), True)),
        ("range(0.1, 0.5, 0.1)", Steps(Decimal("0.1"), Decimal("0.4"), Decimal("0.1"), False)),
        ("tag(log, range(1, 65, 1))", Steps(Decimal(1), Decimal(64), Decimal(1), True, True)),
        ("range(5, 1, -2)", Steps(Decimal(3), Decimal(5), Decimal(2), True)),
        ("interval(0.5, 2)", Interval(0.5, 2.0, False, False)),
        ("tag(log, interval(1e-5, 1e-3))", Interval(1e-5, 1e-3, True, False)),
        ("int(interval(1, 8))", Interval(1, 8, False, True)),
        (1.0, Fixed("1.0")),
        (None, Fixed("null")),
        ([0.9, 0.99], Fixed("[0.9,0.99]")),
        ("cosine", Fixed("cosine")),
    ],
)
def test_the_grammar_is_read_and_written_back(text: object, expected: object) -> None:
    dimension = dimension_of(text)
    assert dimension == expected
    assert dimension_of(str(dimension)) == expected


def test_a_range_of_tenths_ends_where_decimal_arithmetic_says() -> None:
    assert texts_of(dimension_of("range(0.1, 0.5, 0.1)")) == ("0.1", "0.2", "0.3", "0.4")
    assert texts_of(dimension_of("range(0.1, 0.45, 0.1)")) == ("0.1", "0.2", "0.3", "0.4")


@pytest.mark.parametrize("ends", [(2, 9, 2), (2, 10, 2), (2, 3, 5), (9, 2, -2), (10, 2, -3), (1, 4, 1), (-3, 4, 2)])
def test_a_range_has_the_numbers_that_pythons_has(ends: tuple[int, int, int]) -> None:
    assert dimension_of(f"range{ends}").values == tuple(sorted(range(*ends)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("choice()", "empty choice"),
        ("choice(4", "not readable"),
        ("pick(1, 2)", "not readable"),
        ("[" * 3000, "not readable"),
        ("tag(log, range(1, 65, 2))", "in steps of 1"),
        ("tag(log, range(0, 65, 1))", "above 0"),
        ("tag(log, range(1.0, 3.0, 0.5))", "whole numbers"),
        ("tag(log, choice(1, 2))", "a choice has no logarithm"),
        ("tag(fast, range(1, 3))", "the one tag is log"),
        ("shuffle(choice(1, 2))", "decides on the order"),
        ("range(0, 1e12, 1)", "give at most"),
        ("interval(0, inf)", "finite ends"),
        ("interval(2, 1)", "low below high"),
        ("tag(log, interval(0, 1))", "starts above 0"),
        ("tag(fast, interval(0, 1))", "the one tag is log"),
        ("range(3, 3)", "empty range"),
        ("glob(*)", "not a sweep that can be searched"),
    ],
)
def test_what_is_not_the_grammar_is_refused_by_key(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        dimension_of(text)
    assert caught.value.key == "sweep.space.network.dim"


def test_branches_are_read_and_written_back() -> None:
    space = parse_space(BRANCHED)
    assert parse_space(space.described()) == space
    assert list(all_keys(space)) == ["optimizer", "optimizer.lr", "optimizer.lr"]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"optimizer=adamw": {"optimizer.lr": 1.0}}, "needs 'optimizer: choice"),
        ({"optimizer": "choice(a, b)", "optimizer=c": {"optimizer.lr": 1.0}}, "c is not among the values"),
        ({"optimizer": {"lr": 1.0}}, "neither|titled key=value"),
        ({**BRANCHED, "optimizer.lr": "choice(0.1, 0.2)"}, r"optimizer\.lr.*searched twice and inside a branch"),
        ({"seed": "choice(1, 2)", "++seed": "choice(3, 4)"}, r"\+\+seed.*searched twice; give it once"),
        ({"optimizer=adamw": "choice(1, 2)"}, "not readable|is no key"),
        ({"~seed": "choice(1, 2)"}, "is no key"),
    ],
)
def test_a_branch_under_no_choice_is_refused(space: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_space(space)


def test_sweeps_on_the_command_line_are_separated_from_overrides() -> None:
    words = ["+sweep=x", "network.dim=choice(4,8)", "seed=1", "loss.c=interval(0,1)", "~noise", "a=[1,2]"]
    plain, swept = split_command_line(words)
    assert plain == ["+sweep=x", "seed=1", "~noise", "a=[1,2]"]
    assert list(swept.dimensions) == ["network.dim", "loss.c"]


def test_a_value_on_the_command_line_fixes_its_dimension_and_opens_its_branch_only() -> None:
    fixed = on_command_line(parse_space(BRANCHED), ["optimizer=adamw"], Space())
    assert fixed == Space({"optimizer.lr": Interval(1e-5, 1e-3, True, False)})
    narrowed = on_command_line(parse_space(BRANCHED), ["optimizer.lr=1e-4"], Space())
    assert list(all_keys(narrowed)) == ["optimizer"]


def test_a_sweep_on_the_command_line_replaces_a_dimension_and_drops_branches_it_left() -> None:
    _, swept = split_command_line(["optimizer=choice(adamw, lion)"])
    space = on_command_line(parse_space(BRANCHED), [], swept)
    assert texts_of(space.dimensions["optimizer"]) == ("adamw", "lion")
    assert list(space.branches) == [("optimizer", "adamw")]
    _, everywhere = split_command_line(["optimizer.lr=choice(0.1, 0.2)"])
    assert list(all_keys(on_command_line(parse_space(BRANCHED), [], everywhere))) == ["optimizer", "optimizer.lr"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network.dim=choice(4,8)", "network.dim=6"], "network.dim=choice(4,8): is given again as 6"),
        (["network.dim=6", "++network.dim=choice(4,8)"], "network.dim=6: is given again as choice(4,8)"),
        (["network.dim=choice(4,8)", "network.dim=choice(1,2)"], "is given again as choice(1,2)"),
        (["network.dim=choice(4,8)", "~network.dim"], "is given again as deleted"),
        (["~network.dim=choice(4,8)"], "~network.dim=choice(4,8): a key is deleted without a choice"),
    ],
)
def test_a_key_that_is_searched_and_given_again_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        split_command_line(words)


def test_a_key_with_a_sign_is_the_key_without_one() -> None:
    plain, swept = split_command_line(["+sweep=x", "++network.dim=choice(4,32)"])
    space = on_command_line(parse_space({"network.dim": "choice(1, 2)", "seed": "choice(0, 1)"}), plain, swept)
    assert space.described() == {"network.dim": "choice(4, 32)", "seed": "choice(0, 1)"}
    _, added = split_command_line(["+optimizer.beta=choice(0.8,0.9)"])
    space = on_command_line(Space(), [], added)
    assert every_choice(space) == [("+optimizer.beta=0.8",), ("+optimizer.beta=0.9",)]
    assert parse_space(space.described()) == space


def test_a_logarithmic_range_is_drawn_in_the_logarithm() -> None:
    asked: dict[str, Any] = {}

    class Asker:
        def suggest_int(self, name: str, low: int, high: int, **how: Any) -> int:
            asked[name] = (low, high, how)
            return low

    propose(parse_space({"network.dim": "tag(log, range(1, 65, 1))"}), Asker())  # type: ignore[arg-type]
    assert asked == {"network.dim": (1, 64, {"step": 1, "log": True})}


def test_a_long_range_is_tried_at_its_ends_and_between() -> None:
    tried = [words[0] for words in every_choice(parse_space({"seed": "range(0, 10000)"}))]
    assert (tried[0], tried[-1], len(tried)) == ("seed=0", "seed=9999", 5)
    numbers = ", ".join(map(str, range(100)))
    tried = [words[0] for words in every_choice(parse_space({"seed": f"choice(null, {numbers})"}))]
    assert (tried[0], tried[-1], len(tried)) == ("seed=null", "seed=99", 17)


def test_a_grid_of_too_many_points_is_counted_and_not_listed() -> None:
    space = parse_space({f"data.k{index}": "range(0, 1000)" for index in range(8)})
    with pytest.raises(UserError, match=f"the grid has {10**24} points"):
        grid_points(space, 0)
    assert size(parse_space({**BRANCHED, "optimizer=adamw": {"seed": "choice(1, 2, 3)"}})) == 4


@pytest.mark.parametrize("text", ["range(0.5, 5, 0.1)", "range(-3, 40, 7)", "range(10, 0, -1)"])
def test_the_nearest_of_a_range_is_the_one_at_the_least_distance(text: str) -> None:
    steps = parse_space({"network.alpha": text}).dimensions["network.alpha"]
    assert isinstance(steps, Steps)
    for tenth in range(-100, 600, 3):
        number = tenth / 10 + 0.013
        assert abs(steps.nearest(number) - number) == min(abs(value - number) for value in steps.values)


@pytest.mark.parametrize("text", ["it's", 'say "hi"', 'a\'s, "b"', "x=1", "a, b", "back\\'s", "end\\"])
def test_a_text_is_written_as_it_is_read(text: str) -> None:
    assert parse(f"key={text_of(text)}").value() == text
