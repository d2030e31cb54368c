"""A finished study with one damaged file: every command says it, or says what was true.

Which file, which damage and which byte come from `seed_of`, so that case 17 is the same everywhere.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import functools
import json
import re
import shutil
import sqlite3
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeplora.__main__ import main
from sweeplora.config import compose as composing
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration
from sweeplora.randomness import seed_of
from sweeplora.report import plots, study_page
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import TrialRecord, readable_trials, trial_folders, write_trial
from sweeplora.sweep.study import run
from tests.sweep.drive import check

INLINE = "# The stand-in, in this process.\n_target_: tests.sweep.inline.Inline\nattempts: 2\n"
WORDS = ("tracking=none", "launcher=inline", "search=random", "optimizer.lr=tag(log,interval(1e-5,1e-2))")
FIRST, SECOND = "sweep.name=s", "sweep.name=again"
TWO = ("diff", "s/0", "s/1")
KEPT = ("study", "number", "signature", "overrides", "params", "steps", "processes", "threads")
FEW, MANY, DATABASES = 5, 700, 300

PLACES = (
    *("s/000-*/trial.json", "s/001-*/result.json", "s/001-*/trial.json", "s/000-*/result.json"),
    *("s/000-*/metrics.jsonl", "s/001-*/metrics.jsonl", "s/000-*/config.yaml", "s/001-*/naming.json"),
    *("s/000-*/scores.jsonl", "s/001-*/scores.jsonl", "s/001-*/samples/*.png", "s/verdict.json"),
    *("s/study.json", "s/config.yaml", "s/leaderboard.csv", "s/leaderboard.md", "optuna.db", "optuna.db"),
    *("s/001-*/weights/*.safetensors", "s/000-*/supervisor.lock", "s/driver.lock", "s/000-*/log.txt"),
)


_OTHERS = (
    *(b"{}", b"[]", b"null", b"7", b'"text"', b"[" * 9999, b'{"verdict": 3}', b'{"status": "finished"}'),
    *(
        b'{"verdict": "complete", "attempts": [3], "params": [1], "value": "x"}',
        b'{"attempts": {"a": 1}, "value": [[]]}',
    ),
    *(
        b'{"objective": 3, "trials": "x", "started": "y", "state": []}',
        b'{"number": "x", "attempts": [{"started": "a"}]}',
    ),
)


def other_json(data: bytes, draw: Callable[[int], int]) -> bytes:
    return _OTHERS[draw(len(_OTHERS))]


def other_text(data: bytes, draw: Callable[[int], int]) -> bytes:
    return (b"not what was here\n", b"\xff\xfe\x00", b"a: [1, 2", b"\0" * 4096)[draw(4)]


def flipped(data: bytes, draw: Callable[[int], int]) -> bytes:
    if not data:
        return b"\x01"
    place = draw(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw(8)]) + data[place + 1 :]


DAMAGES: Sequence[Callable[[bytes, Callable[[int], int]], bytes]] = (
    *(flipped, flipped, flipped, flipped),
    *(lambda data, draw: data[: draw(len(data) + 1)], lambda data, draw: b""),
    *(other_json, other_text),
)


class Damage(NamedTuple):
    """A folder of runs with one damaged file."""

    runs: Path
    file: Path
    what: str


class Outcome(NamedTuple):
    """What a command came to."""

    code: int
    said: str


@functools.cache
def composed(overrides: tuple[str, ...], proposed: tuple[str, ...]) -> Configuration:
    return composing.compose(overrides, proposed)


def compose_once(overrides: Sequence[str], proposed: Sequence[str] = ()) -> Configuration:
    """The real composer, each combination once in these tests."""
    return copy.deepcopy(composed(tuple(overrides), tuple(proposed)))


def command(capsys: pytest.CaptureFixture[str], *words: str) -> Outcome:
    """Run a command in this process."""
    capsys.readouterr()
    try:
        code = run((*WORDS, *words), compose_once, check, "standin")
    except UserError as error:
        code = 2
        print(error)
    except Exception:
        code = 1
        print(traceback.format_exc())
    said = capsys.readouterr()
    return Outcome(code, said.out + said.err)


Values = dict[tuple[object, ...], tuple[str | None, ...]]
MEASURED = ("val/loss", "relative", "best", "at step")


def values(runs: Path, study: str) -> Values:
    """The leaderboard as a reader of the file sees it: what was searched -> what was measured."""
    with (runs / study / "leaderboard.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    return {(row["trial"], row["optimizer.lr"]): tuple(row.get(name) for name in MEASURED) for row in rows}


def recorded(finished: Path) -> dict[int, list[float]]:
    """Number -> values of the trials, as their records have them."""
    found = [record for _, record in readable_trials(trial_folders(finished / "runs" / "s"))]
    return {record.number or 0: [*record.values] for record in found}


def listed(said: str) -> dict[int, list[float]]:
    """Number -> values of the trials that `list STUDY --json` has values for."""
    return {trial["number"]: trial["values"] for trial in json.loads(said)["trials"] if trial["values"]}


def looks(damaged: Damage, true: dict[int, list[float]], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is wrong with what the commands say that only look, before anything is mended."""
    wrong = []
    (weights,) = damaged.runs.glob("s/000-*/weights/*")
    of_study = ("list", "s", "--json")
    for words in (of_study, ("list",), ("show", "s"), ("show", "s/0"), ("status",), TWO, ("which", str(weights))):
        capsys.readouterr()
        try:
            code = main([*words])
        except Exception:
            wrong.append(f"{words}: {traceback.format_exc()}")
            continue
        said = capsys.readouterr()
        if "Traceback" in said.err or code not in (0, 1, 2) or (code == 2 and len(said.err.strip().splitlines()) != 1):
            wrong.append(f"{words}: {code}, {said}")
        if words == of_study and code == 0:
            found = listed(said.out)
            is_said = "damaged" in said.out or damaged.file.name in said.err
            if found != true and not (found.items() <= true.items() and is_said):
                wrong.append(f"{words}: {found} instead of {true}, {said}")
    return wrong


@pytest.fixture(autouse=True)
def unsaved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are made and not saved, which takes most of a second each."""
    monkeypatch.setattr(plots, "_save", lambda figure, target: target)
    monkeypatch.setattr(study_page, "_figures", lambda files: "")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a user's conf/ and the runs of a finished study of two trials."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "conf" / "launcher").mkdir(parents=True)
    (folder / "conf" / "launcher" / "inline.yaml").write_text(INLINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("STANDIN", json.dumps({"steps": 4, "state": True, "draws": True}))
        assert run((*WORDS, FIRST, "sweep.trials=2"), compose_once, check, "standin") == 0
        yield folder


def damage(finished: Path, folder: Path, case: int, places: Sequence[str] = PLACES) -> Damage:
    """A copy of the runs with the damage of that number."""

    def draw(kind: str, most: int) -> int:
        return seed_of(0, kind, case) % most

    shutil.copytree(finished, folder, dirs_exist_ok=True)
    runs = folder / "runs"
    (file,) = runs.glob(places[case % len(places)])
    before = file.read_bytes()
    damaging = DAMAGES[draw("damage", len(DAMAGES))]
    counter = iter(range(9))
    after = damaging(before, lambda most: draw(f"place {next(counter)}", most))
    file.write_bytes(after)
    changed = [at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other]
    where = f"{len(before)} -> {len(after)} bytes, first difference at {changed[:1]}"
    return Damage(runs, file, f"case {case}: {file.relative_to(runs)}, {where}")


def truth(finished: Path) -> Values:
    return values(finished / "runs", "s")


def holds(runs: Path, study: str, outcome: Outcome, asked: int, true: Values) -> list[str]:
    """What is wrong with a command's end: nothing, for the number asked for with true values, or one refusal line."""
    wrong = []
    if "Traceback" in outcome.said:
        wrong.append("a traceback")
    if outcome.code == 2 and len(outcome.said.strip().splitlines()) == 1:
        return wrong
    if outcome.code not in (0, 1):
        return [*wrong, f"exit code {outcome.code}"]
    try:
        found = values(runs, study)
    except (OSError, ValueError, KeyError) as error:
        found = {(): (str(error),)}
    if found != true:
        wrong.append(f"{found} instead of {true}")
    ended = [record.verdict for _, record in readable_trials(trial_folders(runs / study))]
    if ended != ["complete"] * asked:
        wrong.append(f"trials ended {ended}")
    return wrong


def faults(
    finished: Path, folder: Path, case: int, capsys: pytest.CaptureFixture[str], places: Sequence[str] = PLACES
) -> list[str]:
    """What goes wrong after the damage of that number."""
    damaged = damage(finished, folder, case, places)
    true = truth(finished)
    wrong = looks(damaged, recorded(finished), capsys)
    for name, study in ((FIRST, "s"), (SECOND, "again")):
        outcome = command(capsys, name, "sweep.trials=2")
        wrong += [f"{name}: {one}; it said: {outcome.said}" for one in holds(damaged.runs, study, outcome, 2, true)]
        if outcome.code == 2 and not re.search(damaged.file.name, outcome.said):
            wrong.append(f"{name} does not name the file: {outcome.said}")
    return [f"{damaged.what}: {one}" for one in wrong]


@pytest.mark.parametrize("case", range(FEW))
def test_a_damaged_file_is_named_or_does_no_harm(
    finished: Path, tmp_path: Path, case: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert faults(finished, tmp_path, case, capsys) == []


@pytest.fixture
def copied(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished study's folder, in which commands run."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def another_digit(file: Path, after: bytes) -> None:
    """Change the first digit of the number that follows `after`."""
    data = file.read_bytes()
    place = data.index(after) + len(after)
    file.write_bytes(data[:place] + b"%d" % ((int(data[place : place + 1]) + 3) % 10) + data[place + 1 :])


@pytest.mark.parametrize("key", [b'"value": ', b'"optimizer.lr": ', b'"number": '])
def test_another_digit_in_a_record_is_told_and_mended(
    finished: Path, copied: Path, key: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (trial,) = copied.glob("runs/s/000-*/trial.json")
    another_digit(trial, key)
    outcome = command(capsys, FIRST, "sweep.trials=2")
    assert "trial 0 is trained again: its folder, or the trial.json in it, is gone or damaged" in outcome.said
    assert holds(copied / "runs", "s", outcome, 2, truth(finished)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("update trial_values set value = value + 0.25 where trial_id = 1", "its trial 0 has other values"),
        ("update trial_params set param_value = 2e-4 where trial_id = 2", "its trial 1 has other parameters"),
        ("update trials set number = 5 where number = 1", "its trials are not numbered from 0 on"),
        ("delete from study_user_attributes where 1", None),
    ],
)
def test_a_database_that_differs_from_the_records_is_named(
    finished: Path, copied: Path, change: str, said: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(copied / "runs" / "optuna.db")) as database:
        database.execute(change)
        database.commit()
    outcome = command(capsys, FIRST, "sweep.trials=2")
    assert holds(copied / "runs", "s", outcome, 2, truth(finished)) == []
    assert said is None or (outcome.code == 2 and "optuna.db" in outcome.said and said in outcome.said)
    (copied / "runs" / "optuna.db").unlink()
    outcome = command(capsys, FIRST, "sweep.trials=2")
    assert outcome.code == 0 and holds(copied / "runs", "s", outcome, 2, truth(finished)) == []


def test_a_trial_that_trains_again_does_not_train_a_damaged_config(
    finished: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = copied.glob("runs/s/000-*")
    another_digit(folder / "config.yaml", b"\n  alpha: ")
    (folder / "result.json").write_text("{}")
    (folder / "metrics.jsonl").unlink()
    next(folder.glob("weights/*")).write_bytes(b"other")
    trial = json.loads((folder / "trial.json").read_text())
    write_trial(RunDir(folder), replace(TrialRecord("interrupted"), **{k: trial[k] for k in KEPT}))
    with closing(sqlite3.connect(copied / "runs" / "optuna.db")) as database:
        database.execute("update trials set state = 'RUNNING' where number = 0")
        database.execute("delete from trial_values where trial_id = 1")
        database.commit()
    outcome = command(capsys, FIRST, "sweep.trials=2")
    assert holds(copied / "runs", "s", outcome, 2, truth(finished)) == []


def test_lines_of_metrics_that_no_reader_can_use_are_named_once(
    finished: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (metrics,) = copied.glob("runs/s/001-*/metrics.jsonl")
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join([lines[0], b'{"step": [], "values": 3}\n', *lines[1:]]))
    outcome = command(capsys, FIRST, "sweep.trials=2")
    assert holds(copied / "runs", "s", outcome, 2, truth(finished)) == []
    assert outcome.said.count("metrics.jsonl: line 2 is not what a training writes, and passed over") == 1


def all_faults(
    finished: Path, place: Path, cases: range, places: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> list[str]:
    wrong = []
    for case in cases:
        folder = place / str(case)
        folder.mkdir()
        with contextlib.chdir(folder):
            wrong += faults(finished, folder, case, capsys, places)
        shutil.rmtree(folder)
    return wrong


@pytest.mark.slow
def test_hundreds_of_damaged_files_are_named_or_do_no_harm(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = all_faults(finished, tmp_path, range(FEW, FEW + MANY), PLACES, capsys)
    assert wrong == [], "\n\n".join(wrong)


@pytest.mark.slow
def test_hundreds_of_damaged_databases_of_optuna_are_named_or_do_no_harm(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = all_faults(finished, tmp_path, range(DATABASES), ("optuna.db",), capsys)
    assert wrong == [], "\n\n".join(wrong)
