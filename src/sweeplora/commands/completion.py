"""Print a script for bash, zsh or fish that completes verbs, groups, choices, sweeps, keys and studies."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from sweeplora.commands import Parser, verbs
from sweeplora.errors import UserError

_EXAMPLE = "python -m sweeplora completion bash > ~/.sweeplora.bash   # and in ~/.bashrc: source ~/.sweeplora.bash"
_WORDS = "--words"
_OF_MAIN = ("--cfg", "--help", "--version")
_NAMES_RUNS = re.compile(r"\b(RUN|STUDY|study|studies|run)\b")
_TAKES_OVERRIDES = re.compile(r"key=value|group=choice|overrides")


def main(words: list[str]) -> int:
    """Print the script of a shell; or, as that script asks at every TAB, what can stand in place of the last word."""
    if words[:1] == [_WORDS]:
        print("\n".join(_completions(words[2:] if words[1:2] == ["--"] else words[1:], Path.cwd())))
        return 0
    parser = Parser("completion", __doc__ or "", _EXAMPLE)
    if _WORDS in words:
        parser.error(f"{_WORDS} is the first word")
    parser.add_argument(_WORDS, action="store_true", help="as first word: print what completes the words after it")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish")
    script = files("sweeplora").joinpath(f"assets/completion/sweeplora.{parser.parse(words).shell}")
    print(script.read_text(encoding="utf-8").replace("@python@", shlex.quote(sys.executable)), end="")
    return 0


class Taken(NamedTuple):
    """What a verb takes: options, those of them with a value, words to choose from, and kinds of other words."""

    options: tuple[str, ...]
    with_value: frozenset[str]
    choices: tuple[str, ...]
    runs: bool
    overrides: bool


def _completions(words: Sequence[str], here: Path) -> list[str]:
    """What the last word can be; empty where the shell's own file names serve."""
    from sweeplora.config.completions import completions

    known = verbs(here)
    current = words[-1] if words else ""
    if len(words) < 2:
        found = [*known, *(_OF_MAIN if current else ())]
        return [*(one for one in found if one.startswith(current)), *completions([current], here)]
    if words[0] not in known:
        return completions(words, here)
    taken = _taken(known[words[0]])
    if current.startswith("-"):
        return [one for one in (*taken.options, "--help") if one.startswith(current)]
    if words[-2] in taken.with_value:
        return []
    if taken.choices and not set(taken.choices) & set(words[1:-1]):
        return [one for one in taken.choices if one.startswith(current)]
    found = [one for one in _runs(current, words) if one.startswith(current)] if taken.runs else []
    return [*found, *(completions(words[1:], here) if taken.overrides else [])]


def _taken(file: Path) -> Taken:
    """What a verb takes, from the `add_argument` calls in its file, which is not imported."""
    options: list[str] = []
    with_value: list[str] = []
    choices: list[str] = []
    about: list[str] = []
    for call in _arguments(ast.parse(file.read_bytes())):
        names = [one.value for one in call.args if isinstance(one, ast.Constant)]
        said = {one.arg: one.value for one in call.keywords}
        if any(str(name).startswith("-") for name in names):
            options += map(str, names)
            with_value += map(str, names) if "action" not in said else []
            continue
        about += [str(one.value) for key in ("metavar", "help") if isinstance(one := said.get(key), ast.Constant)]
        listed = said.get("choices")
        if isinstance(listed, ast.Tuple | ast.List):
            choices += [str(one.value) for one in listed.elts if isinstance(one, ast.Constant)]
    text = " ".join(about).replace("runs=FOLDER", "")
    return Taken(
        tuple(options),
        frozenset(with_value),
        tuple(choices),
        _NAMES_RUNS.search(text) is not None,
        _TAKES_OVERRIDES.search(text) is not None,
    )


def _arguments(tree: ast.Module) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            yield node


def _runs(current: str, words: Iterable[str]) -> list[str]:
    """Studies and single runs; once a study is named with a slash, its trials."""
    from sweeplora.commands.place import runs_of
    from sweeplora.rundir.places import numbers_of, run_folders, single_folders, study_folders

    try:
        runs, _ = runs_of(list(words))
    except UserError:  # what is typed so far names no folder
        return []
    study, slash, _ = current.partition("/")
    if not slash:
        return [folder.name for folder in (*study_folders(runs), *single_folders(runs))]
    found = [numbers_of(folder.name) for folder in run_folders(runs / study)]
    numbers = (".".join(str(part) for part in one if part is not None) for one in found if one is not None)
    return [f"{study}/{number}" for number in numbers]
