"""docs/guide.md tells the truth: its keys exist, its defaults are those of conf/, and no flag is forgotten."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from sweeplora.config.compose import compose
from sweeplora.convert.groups.others import NO_USE, NOT_HERE

_PAGE = Path(__file__).resolve().parents[1] / "docs" / "guide.md"
_ROWS = {"M": 8, "D": 9, "N": 6, "L": 10, "O": 6, "S": 8, "T": 6, "A": 2}
_FLAGS = json.loads((Path(__file__).parent / "expected" / "sd_scripts_flags.json").read_text())["flags"]


class _Row(NamedTuple):
    name: str
    key: str
    default: str
    choices: tuple[str, ...]
    example: str


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _rows() -> list[_Row]:
    found = []
    for line in _PAGE.read_text().splitlines():
        cells = _cells(line) if re.match(r"\| [A-Z]\d", line) else []
        if cells:
            key, *choices = re.findall(r"`([^`]*)`", cells[2])
            found.append(_Row(cells[0], key, cells[3], tuple(choices), cells[4]))
    return found


def _at(config: dict[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value


def test_every_row_of_what_users_expect_is_on_the_page() -> None:
    page = _PAGE.read_text()
    for letter, count in _ROWS.items():
        for number in range(1, count + 1):
            assert re.search(rf"\b{letter}{number}\b", page), f"{letter}{number}"


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row.name}-{row.key}")
def test_every_key_exists_and_its_default_is_the_one_of_conf(row: _Row) -> None:
    config = compose(["model=sdxl", "data=folder", *row.choices]).config
    value = _at(config, row.key)
    if row.default.startswith("`"):
        said = yaml.safe_load(row.default.strip("`")) if row.default != "`no`" else "no"
        assert value == (float(said) if isinstance(value, float) else said)


@pytest.mark.parametrize("row", [row for row in _rows() if row.example.startswith("`")], ids=lambda row: row.example)
def test_every_example_composes(row: _Row) -> None:
    (example, *_) = re.findall(r"`([^`]*)`", row.example)
    words = re.split(r" (?=[\w.]+=)", example.replace('"', ""))
    quoted = [
        f"{key}='{value}'" if (" " in value and value[0] not in "[{") or value[0] in "|;" else f"{key}={value}"
        for key, _, value in (word.partition("=") for word in words)
    ]
    compose(["model=sdxl", "data=folder", *row.choices, *quoted])


def test_every_flag_of_sd_scripts_is_on_the_page_or_in_the_converters_tables() -> None:
    page = set(re.findall(r"`(\w+)`", _PAGE.read_text()))
    unsaid = set(_FLAGS) - page - set(NO_USE) - set(NOT_HERE)
    assert not unsaid
