"""The verbs of the command line: each is a file that defines `main(words)`, found by its name."""

from __future__ import annotations

import ast
import importlib.util
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from sweeplora.errors import UserError

Main = Callable[[list[str]], int]

_HERE = Path(__file__).resolve().parent


class Parser(ArgumentParser):
    """An argparse parser that raises UserError and whose help ends with an example."""

    def __init__(self, verb: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"python -m sweeplora {verb}",
            description=description,
            epilog=f"example:\n  {example}",
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def parse(self, words: list[str]) -> Namespace:
        """Parse options and positional words in any order. Raises UserError for an unknown option."""
        for action in self._actions:
            if action.nargs == "*":
                action.required = False  # or argparse says that such words are missing, too
        asked, unknown = self.parse_known_intermixed_args(words)
        if unknown:
            fault = "no such option" if unknown[0].startswith("-") else "a word more than it takes"
            raise UserError("command line", unknown[0], f"{fault}; see {self.prog} --help")
        return asked

    def error(self, message: str) -> NoReturn:
        """Raise argparse's complaint as a one-line UserError."""
        raise UserError("command line", self.prog.rpartition(" ")[2], f"{message}; see {self.prog} --help")


def verbs(here: Path) -> dict[str, Path]:
    """Verb -> its file, sorted: the package's verbs, and those in a folder `commands` below `here`.

    A file is a verb if it defines a function `main`. A user's file cannot replace one of the package's. An underscore
    at the end keeps a word that is Python's own (`continue`) from being a file's name.
    """
    files = [*sorted((here / "commands").glob("*.py")), *_HERE.glob("*.py")]
    found = {file.stem.removesuffix("_"): file for file in files if file.is_file() and _defines_main(file)}
    return dict(sorted(found.items()))


def summary(file: Path) -> str:
    """First line of a verb's docstring, read without importing the file."""
    said = ast.get_docstring(ast.parse(file.read_bytes())) or ""
    return said.partition("\n")[0]


def load(verb: str, file: Path) -> Main:
    """Import a verb's file and return its function `main`."""
    spec = importlib.util.spec_from_file_location(f"sweeplora.commands.{verb}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Main = module.main
    return main


def _defines_main(file: Path) -> bool:
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return False
    return any(isinstance(statement, ast.FunctionDef) and statement.name == "main" for statement in body)
