"""A search by eye from end to end: real trainings, a person who answers in `prefer`'s page, and further trials."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageStat

from sweeplora.report.preferences import read_preferences
from sweeplora.report.samples import samples_of
from sweeplora.rundir.record import read_study, readable_trials, trial_folders

pytestmark = pytest.mark.slow

STUDY = "eyes"
_SECONDS = 300
_SWEEP = (
    f"sweep.name={STUDY}",
    "sweep.objective=preference",
    "sweep.trials=5",
    "sweep.batch=3",
    "network.dim=range(2,9,1)",
    "optimizer.lr=tag(log,interval(1e-3,1e-1))",
    "train.epochs=null",
    "train.steps=3",
    "train.validation_images=2",
    "sample.steps=2",
    "sample.prompts=[a red apple]",
    "launcher.device=cpu",
    "launcher.slots=1",
    "tracking=none",
)


def sweep(folder: Path) -> str:
    """Run the command as a person does; what it said."""
    command = [sys.executable, "-m", "sweeplora", *_SWEEP]
    done = subprocess.run(
        command, cwd=folder, env=os.environ, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def brightness(picture: Image.Image) -> float:
    return ImageStat.Stat(picture.convert("L")).mean[0]


def shown(side: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(side.partition(",")[2])))


def answer_all(folder: Path) -> str:
    """Prefer the brighter side until the page says that nothing is lacking; what the command said at its end."""
    command = [sys.executable, "-m", "sweeplora", "prefer", STUDY, "--no-browser"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()

        def ask(what: str, body: dict[str, object] | None = None) -> dict[str, Any]:
            headers = {"Content-Type": "application/json", "Origin": address.rsplit("/", 2)[0]}
            data = None if body is None else json.dumps(body).encode()
            with urllib.request.urlopen(urllib.request.Request(address + what, data, headers), timeout=300) as answer:
                told: dict[str, Any] = json.load(answer)
                return told

        page = ask("pair")
        assert page["lacking"]
        while page["lacking"] and page["count"] < 100:
            left, right = brightness(shown(page["left"])), brightness(shown(page["right"]))
            page = ask("pick", {"pair": page["pair"], "picked": "left" if left > right else "right"})
        ask("end", {})
        said, complaint = process.communicate(timeout=_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, complaint) == (0, "")
    return said


def values(folder: Path) -> dict[int, float]:
    """Number -> value of the trials as Optuna knows them."""
    with sqlite3.connect(folder / "runs/optuna.db") as database:
        query = "select t.number, v.value from trials t join trial_values v on v.trial_id = t.trial_id"
        return dict(database.execute(query).fetchall())


def trials(study: Path) -> dict[int, Path]:
    found = list(readable_trials(trial_folders(study)))
    assert all(record.verdict == "complete" for _, record in found)
    return {record.number: path for path, record in found if record.number is not None}


def test_trials_are_proposed_from_what_a_person_saw_of_real_trainings(tmp_path: Path) -> None:
    said = sweep(tmp_path)
    study = tmp_path / "runs" / STUDY
    first = trials(study)
    assert sorted(first) == [0, 1, 2]
    assert f"3 trials were not compared often enough, compare them: python -m sweeplora prefer {STUDY}" in said

    light = {number: brightness(Image.open(samples_of(path)[-1].file)) for number, path in first.items()}
    assert len(set(light.values())) == 3, "three trainings draw three pictures"
    favourite = max(light, key=lambda number: light[number])
    assert f"you prefer trial {favourite}" in answer_all(tmp_path)

    sweep(tmp_path)
    second = trials(study)
    assert sorted(second) == [0, 1, 2, 3, 4]
    learnt = values(tmp_path)
    assert min(first, key=lambda n: learnt[n]) == favourite, "the search is told what the person said"
    assert {learnt[n] for n in (3, 4)} == {0.5}, "what nobody has seen yet counts as average"

    said = answer_all(tmp_path)
    found = read_preferences(study, {path.name: number for number, path in second.items()})
    assert found is not None and not found.lacking()
    best = max(found.of, key=lambda number: found.of[number].share)
    assert re.search(rf"you prefer trial {best}\b", said)
    assert "lacking" not in sweep(tmp_path) and sorted(trials(study)) == [0, 1, 2, 3, 4]
    record = read_study(study)
    assert record is not None and record.state == "finished"
    assert f"you prefer trial {best}" in (study / "leaderboard.md").read_text()
