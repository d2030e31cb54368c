"""Whatever is in a file, a conversion writes what composes or says in one line why not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.convert.command import read_source
from sweeplora.convert.conversion import convert
from sweeplora.convert.reading.launch import find, settle
from sweeplora.errors import UserError
from tests.convert.scripts.examples import DATASET_COMMAND, EXAMPLES

_PIECES = [
    *(
        "'",
        '"',
        "`",
        "\\",
        "\\\n",
        "\n",
        " ",
        "$",
        "${",
        "}",
        "$(",
        ")",
        "(",
        "{",
        "[",
        "]",
        "[[",
        "]]",
        "%",
        "%%",
        "!",
    ),
    *(
        "^",
        "^\n",
        "&",
        "&&",
        "||",
        "|",
        ";",
        ";;",
        "<",
        ">",
        "<<EOF",
        "#",
        "--",
        "-",
        "=",
        ",",
        "*",
        "~",
        "\t",
        "\u2013",
    ),
    *("if ", "then\n", "fi", "else", "do ", "done", "case ", "esac", "for x in 1 2; do ", "exit 1\n", "exit /b\n"),
    *("goto x\n", ":x\n", "set ", "$x", "%x%", "!x!", "$env:x", "@(", "@{", "-eq ", "null", "true", "0", "-1", "1e999"),
    *(
        "99999999999999999999",
        "nan",
        "\u00e9",
        "\u732b",
        "[[datasets]]\n",
        "= ",
        '""',
        "''",
        "{}",
        "[]",
        "${a[",
        "$((1/0))",
    ),
]


def _mutated(text: str, draw: random.Random) -> str:
    for _ in range(draw.randint(1, 4)):
        at, size = draw.randrange(len(text) + 1), draw.choice((1, 1, 2, 5, 20))
        match draw.randrange(6):
            case 0:
                text = text[:at] + draw.choice(_PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + size :]
            case 2:
                text = text[:at] + draw.choice(_PIECES) + text[at + size :]
            case 3:
                text = text[:at] if draw.random() < 0.3 else text[at:] if draw.random() < 0.2 else text
            case 4:
                lines = text.split("\n")
                line = draw.randrange(len(lines))
                text = "\n".join([*lines[:line], lines[draw.randrange(len(lines))], *lines[line:]])
            case _:
                other = draw.randrange(len(text) + 1)
                text = text[:at] + text[other : other + size] + text[at:]
    return text


def _source(name: str) -> list[str]:
    return [DATASET_COMMAND] if name == "dataset.toml" else [name]


def _fuzz(count: int, composed: int, seed: int) -> tuple[int, int]:
    """How many of the mutations were converted, and how many refused; all else is an error."""
    draw = random.Random(seed)
    converted = refused = 0
    for number in range(count):
        name = draw.choice(list(EXAMPLES))
        text = _mutated(EXAMPLES[name], draw)
        Path(name).write_text(text, encoding="utf-8", newline="")
        try:
            reading = read_source(_source(name))
            trainings = find(reading)
            convert(settle(trainings[0], reading.script))
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
            continue
        except Exception as error:
            raise AssertionError(f"{name}, number {number}: {error!r} of\n{text}") from error
        if converted < composed and len(trainings) == 1:
            main([f"--output=sweeps/fuzzed{number}.yaml", *_source(name)])
            compose([f"+sweep=fuzzed{number}"])
        converted += 1
    return converted, refused


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "dataset.toml"])
def test_the_examples_themselves_are_converted(name: str) -> None:
    Path(name).write_text(EXAMPLES[name], encoding="utf-8")
    assert main(["--output=sweeps/it.yaml", name]) == 0
    compose(["+sweep=it"])


def test_hundreds_of_damaged_inputs_end_in_a_file_or_in_one_line() -> None:
    converted, refused = _fuzz(300, composed=8, seed=1)
    assert converted > 50
    assert refused > 50


@pytest.mark.slow
def test_thousands_of_damaged_inputs_end_in_a_file_or_in_one_line() -> None:
    converted, refused = _fuzz(8000, composed=300, seed=2)
    assert converted > 1000
    assert refused > 1000
