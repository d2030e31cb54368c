"""Records of another shape than a command writes: named in a line or passed over, and no traceback."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.rundir.folder import RunDir
from tests.record.restore.desk import Desk, listing

ODD: list[Any] = [7, [{"a": 1}]]


def _places(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value stands in a tree of JSON, for the first entry of every list."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree[:1]) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield (*above, key)
        yield from _places(value, (*above, key))


def _with(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A tree with another value at a place."""
    changed = copy.deepcopy(tree)
    node = changed
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    return changed


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDir:
    """A run in a folder without git, of one image."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    desk = Desk.__new__(Desk)
    desk.parent, desk.path = tmp_path, folder
    (folder / "own.py").write_text("x = 1\n")
    (folder / "pictures").mkdir()
    (folder / "pictures/a.png").write_bytes(b"\x89PNG")
    data = {"_target_": "sweeplora.data.folder.Folder", "dir": "pictures", "caption_extension": ".txt"}
    run = desk.record(data=data, network={"weights": None}, train={"resume": None}, sample={"prompts": None}, model={})
    entry = {"path": "pictures/a.png", "sha256": "0" * 64, "bytes": 4, "caption": "a cat", "split": "train"}
    (run.path / "dataset.json").write_text(listing(entry))
    return run


@pytest.mark.parametrize("name", ["trial.json", "dataset.json", "config.yaml", "session.json", "workspace.json"])
@pytest.mark.parametrize("share", [3, pytest.param(1, marks=pytest.mark.slow)], ids="one in {}".format)
def test_whatever_a_record_holds_restore_and_diff_say_it_in_lines(
    made: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, share: int
) -> None:
    file = next(made.path.rglob(name))
    read, write = (yaml.safe_load, yaml.safe_dump) if name.endswith("yaml") else (json.loads, json.dumps)
    whole = read(file.read_text())
    whole.pop("digest", None)
    changed = [_with(whole, place, value) for place in _places(whole) for value in ODD][::share]
    for number, content in enumerate([*ODD, *changed]):
        file.write_text(write(content))
        assert main(["restore", str(made.path), str(tmp_path / f"again-{number}")]) in (0, 1, 2)
        assert main(["diff", str(made.path), str(made.path)]) in (0, 1, 2)
        told = capsys.readouterr()
        assert "Traceback" not in told.err + told.out


def test_entries_of_images_that_say_too_little_are_counted(
    made: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads((made.path / "dataset.json").read_text())
    listed["files"].append({"path": "pictures/b.png"})
    (made.path / "dataset.json").write_text(json.dumps(listed))
    assert main(["restore", str(made.path), str(tmp_path / "again")]) == 1
    assert "dataset.json is damaged: 1 of its entries are passed over" in capsys.readouterr().out
