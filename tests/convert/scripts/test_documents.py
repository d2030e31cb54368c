"""Notebooks and Markdown pages into commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.source import read
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError

_RUN = "accelerate launch --num_processes=1 train_network.py"


def _notebook(*cells: str) -> str:
    made = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
    return json.dumps({"cells": [{"cell_type": "markdown", "source": [f"!{_RUN} --not"]}, *made]})


def _words(text: str, name: str) -> list[tuple[str, ...]]:
    reading = read(Script(text, name, Path(name), {}))
    return [settle(training, reading.script).words for training in find(reading)]


def test_lines_for_a_shell_are_read_and_python_is_not() -> None:
    text = _notebook(
        "import os\nname = 'it\\'s'\n%env DIM=8\n%cd /content\n!pip install 'x",
        f"if True:\n  !{_RUN} --network_dim=$DIM \\\n    --seed=3\nprint('don\\'t')",
        f'%%bash\nNAME="a b"\n{_RUN} --output_name="$NAME"',
    )
    assert _words(text, "a.ipynb") == [("--network_dim=8", "--seed=3"), ("--output_name=a b",)]


@pytest.mark.parametrize("value", ["{project}", "{project}_v1", "$project"])
def test_a_variable_of_python_is_refused_by_name(value: str) -> None:
    text = _notebook("project = 'x'", f"!{_RUN} --output_name={value}")
    with pytest.raises(UserError, match="project"):
        _words(text, "a.ipynb")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_notebook(f"subprocess.run('{_RUN}')"), "starts no training with !"),
        ("{}", "not a readable notebook"),
        ('{"cells": 3}', "not a readable notebook"),
        ('{"cells": [{"cell_type": "code", "source": null}]}', "not a readable notebook"),
        (_notebook("print(1)"), "no training script"),
    ],
)
def test_a_notebook_that_starts_nothing_says_so(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _words(text, "a.ipynb")


def test_code_blocks_of_a_page_are_read_each_by_its_shell() -> None:
    text = (
        f"# It's a guide\nRun `{_RUN} --no`:\n```bash\nDIM=4\n```\ntext\n```\n$ {_RUN} --dim=$DIM \\\n  --a\n```\n"
        f"```python\n{_RUN} --python\n```\n~~~bat\n{_RUN} ^\n  --d=D:\\x\n~~~\n```toml\nx='\n```\n"
    )
    assert _words(text, "a.md") == [("--dim=4", "--a"), ("--d=D:\\x",)]


def test_the_line_of_a_page_is_named() -> None:
    with pytest.raises(UserError, match=r"a.md line 4=--x=.NO"):
        _words(f"# Guide\n\n```sh\n{_RUN} --x=$NO\n```\n", "a.md")
