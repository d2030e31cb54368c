"""What the pages tell people to type works: verbs parse their words, and what would be trained passes every check."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeplora.__main__ import main
from sweeplora.commands import Parser
from tests.docs.pages import SDXL, TELLING, commands, files, named, said

_GPU_PAGES = ("several-gpus.md",)


_READ_FIRST = ("README.md", "first-sweep.md")
"""Their commands are tried by `make test`, those of the other pages by `make test-full`."""


def _typed() -> list[Any]:
    """Every page that tells people to type something."""
    pages = [page for page in TELLING if commands(page)]
    return [page if page.name in _READ_FIRST else pytest.param(page, marks=pytest.mark.slow) for page in pages]


class Parsed(Exception):
    """A verb has parsed its words."""


@pytest.mark.parametrize("page", _typed(), ids=named)
def test_every_command_of_a_page_works(page: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.name in _GPU_PAGES:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    for name, text in files(page).items():
        file = workspace / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_here(text, workspace))
    for words in commands(page):
        here = [_here(word, workspace) for word in words]
        if here and here[0].isalpha() and here[0] != "run":
            _parses(here)
        else:
            rest = [word for word in here if word not in ("run", "--dry-run")]
            assert "--help" in rest or main(["run", "--dry-run", *rest]) == 0, words


@pytest.mark.parametrize("page", [page for page in TELLING if said(page)], ids=named)
def test_every_refusal_that_a_page_shows_is_what_the_command_says(
    page: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for one in said(page):
        if one.words and one.words[0].isalpha():
            continue
        assert main(["run", "--dry-run", *(_here(word, workspace) for word in one.words)]) == 2, one.words
        assert _there(capsys.readouterr().err.strip(), workspace) == one.output


def _parses(words: list[str]) -> None:
    """Run a verb until it has parsed its words, by its own parser; a conversion of what is there, to its end."""
    if words[0] == "convert" and Path(words[-1]).is_file():
        assert main(words) == 0, words
        return
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Parsed):
        for name in ("parse", "parse_args"):
            patch.setattr(Parser, name, _then_stops(getattr(Parser, name)))
        main(words)


def _then_stops(parse: Callable[..., argparse.Namespace]) -> Callable[..., argparse.Namespace]:
    def parsed(self: Parser, words: list[str]) -> argparse.Namespace:
        raise Parsed(parse(self, words))

    return parsed


def _there(text: str, workspace: Path) -> str:
    """What a command printed, with the pages' places in the file system."""
    return text.replace(str(SDXL), "/models/my-sdxl.safetensors").replace(f"{workspace}/", "")


def _here(text: str, workspace: Path) -> str:
    """A page's text with its places in the file system replaced by those of the test."""
    text = text.replace("/models/my-sdxl.safetensors", str(SDXL)).replace("/scratch/", f"{workspace}/scratch/")
    return text.replace("/pictures/", f"{workspace}/pictures/")
