"""Make a folder to work in, with a sweep and a data set of your own as examples; prints the first command to run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from sweeplora.commands import Parser
from sweeplora.commands.words import is_assignment
from sweeplora.errors import UserError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_EXAMPLE = "python -m sweeplora init my-lora"
_PICTURES = "pictures"
_IGNORED = ".gitignore"
_WHAT = {
    "sweeps/first.yaml": "a question to ask, line by line",
    "conf/data/mine.yaml": "your pictures as a data set, data=mine",
    _IGNORED: "keeps what trainings write out of git",
}
_COMMANDS = (
    ("python -m sweeplora data check data=mine", "what is in them: sizes, captions, duplicates"),
    ("python -m sweeplora +sweep=first data=mine launcher=dry", "what the sweep would do"),
    ("python -m sweeplora +sweep=first data=mine", "the sweep"),
)


def main(words: list[str]) -> int:
    """Write the folder and print what to do next; returns 0. Raises UserError rather than replace a file."""
    parser = Parser("init", __doc__ or "", _EXAMPLE)
    parser.add_argument("folder", metavar="DIR", help="a folder, new or not; . is this one")
    named = parser.parse(words).folder
    folder = Path(named)
    if not named.strip():
        raise UserError("init", named, "give a folder's name; . is this one")
    if is_assignment(named):
        raise UserError("init", named, "give a folder's name; key=value has no place here")
    try:
        made = {name: content for name, content in _files() if name != _IGNORED or not (folder / name).exists()}
        _refuse(folder, list(made))
        (folder / _PICTURES).mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("xb") as stream:
                stream.write(content)
    except OSError as error:
        raise UserError("init", folder, f"files cannot be written there ({error.strerror})") from None
    except ValueError:  # characters that no file's name can have
        raise UserError("init", folder, "is no name that a folder can have; give another") from None
    print("\n".join(_told(folder, list(made))))
    return 0


def _files() -> Iterator[tuple[str, bytes]]:
    """Each file by its name in the new folder, with its content."""
    for name, file in _below(files("sweeplora").joinpath("assets/workspace"), ""):
        yield (_IGNORED if name == "gitignore" else name), file.read_bytes()


def _below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.is_dir():
            yield from _below(entry, f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name, entry


def _refuse(folder: Path, names: list[str]) -> None:
    """Raise UserError for files that are there already, and for files where a folder has to be."""
    there = [name for name in names if os.path.lexists(folder / name)]
    if there:
        fault = f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already, and nothing was written"
        raise UserError("init", folder, f"{fault}; move what is yours away, or name another folder")
    needed = {folder, folder / _PICTURES, *(parent for name in names for parent in (folder / name).parents)}
    blocked = sorted(place for place in needed if place.exists() and not place.is_dir())
    if blocked:
        raise UserError("init", folder, f"{blocked[0]} is a file, and has to be a folder; name another folder")


def _told(folder: Path, made: list[str]) -> Iterator[str]:
    width = max(len(name) for name in made) + 3
    yield f"made in {folder}:"
    for name in made:
        yield f"  {name.ljust(width)}{_WHAT.get(name, '')}".rstrip()
    if _IGNORED not in made:
        yield f"{_IGNORED} is yours and stays as it is; let it leave out /runs/"
    yield ""
    yield f"put your pictures into {folder / _PICTURES}, each with its caption beside it: cat.png and cat.txt. Then:"
    yield ""
    if folder.resolve() != Path.cwd().resolve():
        yield f"  cd {shlex.quote(str(folder))}"
    longest = max(len(command) for command, _ in _COMMANDS) + 3
    for command, what in _COMMANDS:
        yield f"  {command.ljust(longest)}# {what}"
