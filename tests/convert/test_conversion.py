"""What a conversion is made of: a file for each group."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.convert import groups
from sweeplora.convert.entries import settings
from tests.convert.commands import converted

_TOY = """
from sweeplora.convert.entries import Entry, became
from sweeplora.convert.reading.given import Given

def entries(given: Given) -> list[Entry]:
    return [became("--seed", "toy.seed", given["seed"])]
"""


def test_a_new_file_of_groups_is_asked_without_being_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text(_TOY)
    monkeypatch.setattr(groups, "__path__", [*groups.__path__, str(tmp_path)])
    assert settings(converted("--seed=7").entries)["toy.seed"] == 7
    monkeypatch.undo()
    assert "toy.seed" not in settings(converted("--seed=7").entries)


def test_a_rate_of_0_for_an_optimizer_that_finds_its_own_is_no_traceback() -> None:
    assert settings(converted("--optimizer_type=prodigy --learning_rate=0").entries)["optimizer.lr"] == 0
