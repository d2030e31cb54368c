"""`rerun`: identical, or where it parts and what differs; with overrides, the experiment changed in these alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.files import read_json
from tests.launchers import name_them


def test_a_rerun_says_whether_it_is_identical_or_where_it_parts_and_why(
    small: list[str], few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_them(tmp_path)
    monkeypatch.chdir(tmp_path)
    album = shutil.copytree(few, tmp_path / "album")
    words = [*small, "launcher=forked", "train.validation_images=1", "train.steps=2"]
    assert main([*words, f"data.dir={album}", "name=one", "network.dim=2"]) == 0

    def again(*overrides: str, code: int) -> tuple[list[str], dict[str, object]]:
        capsys.readouterr()
        assert main(["rerun", "one", *overrides, "--json", "told.json"]) == code
        return capsys.readouterr().out.splitlines(), read_json(Path("told.json")) or {}

    # An override of what makes no result is no change of the experiment: it is compared.
    said, told = again("tracking.experiment=other", code=0)
    assert "identical to single/one: every metric of 2 steps, the last weights byte for byte" in said
    assert told["identical"] is True and told["changed"] == {}

    caption = min(album.rglob("*.txt"))
    caption.write_text("something else altogether")
    said, told = again(code=1)
    (parts,) = (line for line in said if line.startswith("it parts at step "))
    assert told["parts_at"] is not None and ", a difference of " in parts
    changed = f"differs: changed: album/{caption.relative_to(album).with_suffix('.png')}: caption "
    assert [line for line in said if line.startswith(changed) and line.endswith("-> 'something else altogether'")]
    assert any(line.startswith("differs: content of data.dir: ") for line in said)
    assert json.dumps(told["differing"]).count("caption") == 1


def test_words_about_a_study_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("sweep.trials=5", "+sweep=lr", "search=grid", "pruner=rungs"):
        assert main(["rerun", "cats", f"runs={tmp_path}", word]) == 2
        assert (
            f"{word.lstrip('+')}: `rerun` trains one run and searches nothing; leave it out" in capsys.readouterr().err
        )


def test_a_comparison_is_written_over_a_comparison_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("mine.json").write_text('{"mine": 1}')
    for name in ("mine.json", "new.txt", "nowhere/new.json"):
        assert main(["rerun", "one", "--json", name]) == 2
        assert capsys.readouterr().err.startswith(f"--json={name}: ")
    assert Path("mine.json").read_text() == '{"mine": 1}'
