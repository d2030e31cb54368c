"""init: a folder whose examples run, whose printed commands work, and that never costs anybody a file."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from sweeplora.__main__ import main

_TINY = "sweep.trials=1 train.epochs=1 train.probe_images=0 sample=none data.val_split=0.25"


def put_pictures(folder: Path, captions: int = 3) -> None:
    """Four photographs, the last ones without a caption file."""
    for number in range(4):
        image = Image.new("RGB", (320, 240), (40 * number, 90, 160))
        ImageDraw.Draw(image).ellipse((60 * number, 40, 120 + 60 * number, 140), fill=(230, 30 * number, 40))
        image.save(folder / f"cat{number}.jpg")
        if number < captions:
            (folder / f"cat{number}.txt").write_text(f"a cat, number {number}")


def printed(said: str) -> list[str]:
    """The command lines that were printed, word for word."""
    return [line.strip() for line in said.splitlines() if re.match(r"  (cd|python) ", line)]


def test_the_printed_commands_look_into_the_pictures_and_foretell_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "my lora"]) == 0
    enter, *commands = printed(capsys.readouterr().out)
    assert shlex.split(enter) == ["cd", "my lora"]
    assert [line.split("#")[0].rstrip() for line in commands] == [
        "python -m sweeplora data check data=mine",
        "python -m sweeplora +sweep=first data=mine launcher=dry",
        "python -m sweeplora +sweep=first data=mine",
    ]
    monkeypatch.chdir(tmp_path / "my lora")
    put_pictures(Path("pictures"))
    assert main(shlex.split(commands[0], comments=True)[3:]) == 0
    said = capsys.readouterr().out
    assert "captions: 3 of 4 images have one" in said and "cat3.jpg" in said
    assert main(shlex.split(commands[1], comments=True)[3:]) == 0
    said = capsys.readouterr().out
    assert "a study of 6 trials, the least val/loss; runs/first would be made" in said
    assert not Path("runs").exists()


@pytest.mark.slow
def test_what_it_prints_trains_word_for_word(tmp_path: Path) -> None:
    source = Path(__file__).resolve().parents[2] / "src"
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (bin_ / "python").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(source), "PATH": f"{bin_}:{os.environ['PATH']}"}

    def shell(line: str) -> str:
        done = subprocess.run(
            line, shell=True, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    *before, sweep = printed(shell("python -m sweeplora init here"))
    put_pictures(tmp_path / "here" / "pictures", captions=0)
    assert "nothing was started" in shell("\n".join(["set -e", *before, f"{sweep.split(' #')[0]} {_TINY}"]))
    trial = next((tmp_path / "here" / "runs" / "first").glob("000-*"))
    assert list((trial / "weights").glob("*mine*.safetensors"))


def test_a_folder_with_content_is_fine_where_nothing_collides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "old.yaml").write_text("mine")
    (tmp_path / ".gitignore").write_text("/secret/\n")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "sweeps" / "old.yaml").read_text() == "mine"
    assert (tmp_path / ".gitignore").read_text() == "/secret/\n"
    assert ".gitignore is yours and stays as it is" in capsys.readouterr().out
    assert (tmp_path / "sweeps" / "first.yaml").is_file() and (tmp_path / "conf" / "data" / "mine.yaml").is_file()


def test_a_file_that_is_there_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "mine.yaml").write_text("name: cats\n")
    assert main(["init", str(tmp_path)]) == 2
    assert "conf/data/mine.yaml is there already" in capsys.readouterr().err
    assert (tmp_path / "conf" / "data" / "mine.yaml").read_text() == "name: cats\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["conf"]


def test_a_second_time_is_refused_and_names_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "new")]) == 0
    capsys.readouterr()
    assert main(["init", str(tmp_path / "new")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "conf/data/mine.yaml, sweeps/first.yaml are there already" in said


@pytest.mark.parametrize("blocked", [".", "sweeps", "pictures"])
def test_a_file_in_place_of_a_folder_is_refused(
    blocked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new"
    if blocked == ".":
        folder.write_text("a file")
    else:
        folder.mkdir()
        (folder / blocked).write_text("a file")
    assert main(["init", str(folder)]) == 2
    assert "is a file, and has to be a folder" in capsys.readouterr().err
    assert not folder.is_dir() or [path.name for path in folder.iterdir()] == [blocked]


@pytest.mark.parametrize("name", ["data=mine", "x" * 5000, "a\0b", "\ud800\0"])
def test_what_is_no_folders_name_is_refused_in_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_the_examples_explain_every_line_of_theirs() -> None:
    assets = Path(__file__).resolve().parents[2] / "src" / "sweeplora" / "assets" / "workspace"
    for file in (assets / "sweeps" / "first.yaml", assets / "conf" / "data" / "mine.yaml"):
        lines = file.read_text().splitlines()
        said = sum("#" in line for line in lines)
        assert said > 0.7 * len(lines), file
