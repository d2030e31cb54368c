"""A night's verdict is that of its worst criterion, and only good news has exit code 0."""

from __future__ import annotations

import math

import pytest

from sweeplora.nightly.criterion import Criterion, Verdict, exit_code, verdict_of


def criterion(verdict: Verdict, effect: float | None = None) -> Criterion:
    return Criterion("locon", "val/loss", verdict, "said", effect=effect)


@pytest.mark.parametrize(
    ("found", "verdict", "code"),
    [
        (["PASS", "PASS"], "PASS", 0),
        (["PASS", "IMPROVED"], "IMPROVED", 0),
        (["IMPROVED", "INCONCLUSIVE"], "INCONCLUSIVE", 2),
        (["INCONCLUSIVE", "NO_BASELINE"], "NO_BASELINE", 2),
        (["NO_BASELINE", "INFRA", "PASS"], "INFRA", 2),
        (["INFRA", "REGRESSED", "IMPROVED"], "REGRESSED", 1),
        ([], "INFRA", 2),
    ],
)
def test_the_worst_criterion_decides(found: list[str], verdict: str, code: int) -> None:
    told = verdict_of([criterion(Verdict(name)) for name in found])
    assert (told.value, exit_code(told)) == (verdict, code)


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.IMPROVED])
@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_not_finite_cannot_pass(verdict: Verdict, number: float) -> None:
    with pytest.raises(AssertionError):
        criterion(verdict, number)
    assert criterion(Verdict.REGRESSED, number).verdict is Verdict.REGRESSED
