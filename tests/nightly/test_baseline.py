"""Baselines: what a file holds and keeps, who may write one, and how it is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sweeplora.errors import UserError
from sweeplora.nightly.baseline import read_baseline, text_of
from sweeplora.nightly.key import key_of
from tests.nightly.nights import last, night, prepare, raise_the_rate, verb


@pytest.fixture
def place(accepted: Path) -> Path:
    return accepted


def file_of(place: Path, name: str = "four") -> Path:
    return next((place / "baselines").glob(f"{name}-cpu-*.json"))


def test_a_file_keeps_every_bit_and_writes_a_line_for_each_seed(place: Path) -> None:
    found = read_baseline(file_of(place))
    assert text_of(found) == file_of(place).read_text()
    assert sorted(found.seeds) == list(range(10))
    lines = [line for line in file_of(place).read_text().splitlines() if '"val/loss": [' in line]
    assert len(lines) == 10
    assert len(found.evidence.course) == len(found.evidence.again) == 50


def test_an_edited_file_is_refused_by_name(place: Path, tmp_path: Path) -> None:
    content = json.loads(file_of(place).read_text())
    content["seeds"]["3"]["val/loss"][0] *= 1.1
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"edited.json: is no baseline .*only .* writes one"):
        read_baseline(edited)
    for text in ("", "[]", "{}", '{"format": 2}', file_of(place).read_text()[:400]):
        edited.write_text(text)
        with pytest.raises(UserError, match="is no baseline"):
            read_baseline(edited)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name a night"),
        (["NIGHT"], "--reason=missing"),
        (["NIGHT", "--reason", "  "], "say why"),
        (["NIGHT", "five", "--reason", "x"], "baseline accept=five: the night has no such configuration: four, eight"),
        (["nothing", "--reason", "x"], "nothing"),
    ],
)
def test_no_baseline_without_a_night_and_a_reason(place: Path, words: list[str], said: str) -> None:
    before = file_of(place).read_text()
    code, told = verb(place, "accept", *(last(place).path.name if word == "NIGHT" else word for word in words))
    assert code == 2 and said in told
    assert file_of(place).read_text() == before


def test_five_seeds_and_a_regression_are_refused_and_a_meant_one_remembers_what_was(
    place: Path, tmp_path: Path
) -> None:
    prepare(tmp_path)
    raise_the_rate(tmp_path)
    shutil.copytree(place / "baselines", tmp_path / "baselines")
    assert night(tmp_path, "nightly.seeds=10")[0] == 1
    code, said = verb(tmp_path, "accept", last(tmp_path).path.name, "--reason", "a larger rate", "--although-regressed")
    assert code == 2 and "four seeds=1: its canary REGRESSED" in said and "nightly.stop_at_canary=false" in said
    assert night(tmp_path, "nightly.seeds=10", "nightly.stop_at_canary=false")[0] == 1
    name = last(tmp_path).path.name
    code, said = verb(tmp_path, "accept", name, "--reason", "a larger rate")
    assert code == 2 and "four canary=REGRESSED" in said and "--although-regressed" in said
    code, said = verb(tmp_path, "accept", name, "four", "--reason", "a larger rate", "--although-regressed")
    assert code == 0, said
    found = read_baseline(file_of(tmp_path))
    (before,) = found.previous
    assert (before.reason, found.accepted.reason) == ("the first one", "a larger rate")
    assert found.accepted.means["val/loss"] > 1.02 * before.means["val/loss"]
    assert not read_baseline(file_of(tmp_path, "eight")).previous
    code, said = verb(tmp_path, "show", "four")
    assert code == 0 and "a larger rate" in said and "the first one" in said
    code, said = verb(tmp_path, "diff")
    assert code == 1 and "settings: optimizer.lr 0.002 -> 0.02" in said
    assert night(tmp_path)[0] == 1  # eight is still judged by its old baseline


def test_a_night_differs_from_its_own_baseline_in_nothing(place: Path) -> None:
    code, said = verb(place, "diff")
    assert code == 0, said
    assert said.count("losses: the same to the last bit") == 2
    code, said = verb(place, "show")
    assert [line.split()[0] for line in said.splitlines()] == ["configuration", "eight", "four"]


def test_another_question_has_no_baseline_and_the_nearest_is_named(place: Path, tmp_path: Path) -> None:
    prepare(tmp_path)
    shutil.copytree(place / "baselines", tmp_path / "baselines")
    code, said = night(tmp_path, "network.alpha=2")
    assert code == 2
    assert "NO_BASELINE   four baseline: the nearest baseline, four-cpu-" in said
    assert "is of another question" in said


def test_the_key_holds_the_question_and_not_the_answer() -> None:
    contents = {"model.path": "aa", "data.dir": "bb", "data.mask_dir": "bb"}
    words = ["+sweep=nightly", "network.dim=4", "data.mask_dir=/here"]
    one = key_of("a", words, contents, "cpu")
    same = ["data.mask_dir=/there", "seed=7", "runs=elsewhere", "nightly.seeds=9", "launcher.threads=1"]
    assert key_of("a", ["network.dim=4", *same], contents, "cpu") == one
    assert key_of("a", ["network.dim=8", "data.mask_dir=/here"], contents, "cpu").differences(one) == ("question",)
    assert key_of("a", words, {**contents, "data.dir": "cc"}, "cpu").differences(one) == ("data",)
    steps = key_of("a", [*words, "train.steps=9"], contents, "cpu")
    assert key_of("a", [*words, "train.epochs=null", "train.steps=9"], contents, "cpu") == steps
    assert key_of("a", [*words, "train.epochs=null"], contents, "cpu") != one
    assert key_of("a", words, {**contents, "model.path": "cc"}, "cpu").differences(one) == ("model",)
    assert key_of("a", words, contents, "NVIDIA H100").differences(one) == ("device",)


@pytest.mark.slow
def test_a_night_with_a_missing_seed_is_no_baseline(tmp_path: Path) -> None:
    prepare(tmp_path)
    night(tmp_path, "nightly.seeds=10", diverge=[8])
    code, said = verb(tmp_path, "accept", last(tmp_path).path.name, "--reason", "x")
    assert code == 2 and "eight seed=0: has no result" in said
    assert not (tmp_path / "baselines").exists()
