"""Brackets as weights, and as text where a backslash or a missing partner makes them text."""

from __future__ import annotations

import pytest

from sweeplora.models.text.emphasis import Piece, pieces


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat", [("a cat", 1.0)]),
        ("", []),
        ("a (cat:1.25), sitting", [("a ", 1.0), ("cat", 1.25), (", sitting", 1.0)]),
        ("a (red) cat", [("a ", 1.0), ("red", 1.1), (" cat", 1.0)]),
        ("a [red] cat", [("a ", 1.0), ("red", 1 / 1.1), (" cat", 1.0)]),
        ("((a):1.5)", [("a", 1.1 * 1.5)]),
        ("(a (b:2) c:0.5)", [("a ", 0.5), ("b", 1.0), (" c", 0.5)]),
        ("(a)(b)", [("ab", 1.1)]),
        (r"asuka \(evangelion\) \[x\] \\ \y", [("asuka (evangelion) [x] \\ y", 1.0)]),
        ("a (b", [("a ", 1.0), ("b", 1.1)]),
        ("a [b", [("a ", 1.0), ("b", 1 / 1.1)]),
        ("a) b] c:1.2) d", [("a) b] c:1.2) d", 1.0)]),
        ("(a: b)", [("a: b", 1.1)]),
        ("(a:-1)", [("a", -1.0)]),
        ("(a:.5) (b:2.)", [("a", 0.5), (" ", 1.0), ("b", 2.0)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
    ],
)
def test_a_text_falls_into_weighted_pieces(text: str, expected: list[tuple[str, float]]) -> None:
    found = pieces(text)
    assert [piece.text for piece in found] == [text for text, _ in expected]
    assert [piece.weight for piece in found] == pytest.approx([weight for _, weight in expected])


def test_round_and_square_brackets_cross() -> None:
    assert pieces("(a [b) c]") == [Piece("a ", 1.1), Piece("b", 1.1 / 1.1), Piece(" c", 1 / 1.1)]
