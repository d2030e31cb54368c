"""Two commits are measured in turn by real trainings: equal ones pass, a slower step and a larger memory are caught."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeplora.nightly.blocks import Blocks
from sweeplora.nightly.measuring import Asked, judge_night
from tests.nightly.toy import Toy

MEASURE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from sweeplora.nightly.blocks import Blocks
from sweeplora.nightly.measuring import Asked, commit_against, criteria_against, measure_night

against, folder = commit_against(sys.argv[1]), Path(sys.argv[2])
words = ["tracking=none", "launcher.device=cpu", "launcher.threads=1"]
asked = Asked(words, {"locon": ["network=locon"]}, Blocks(6, 24, 10, 2), against, False, folder, folder)
criteria = criteria_against(measure_night(asked, lambda line: print(line, file=sys.stderr)), against)
print(json.dumps([asdict(one) for one in criteria]))
"""

SMALL = """# @package _global_
# One configuration, as short as can be.
train: {epochs: null, steps: 2, validate_every_epochs: 0, save_every_epochs: 0, validation_images: 1, probe_images: 0}
sample: {at_first: false, at_last: false}
launcher: {threads: 1, device: cpu}
reuse: false
nightly:
  configurations: {locon: [network.dim=2]}
  needs: {}
  seeds: 5
  most_seeds: 5
  baseline: baselines
  secondary: []
  stop_at_canary: false
  speed: {blocks: 6, most_blocks: 6, steps: 2, warm_up: 1}
  against: null
  bisect: null
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return Toy(tmp_path_factory.mktemp("measured") / "toy")


def measured(toy: Toy, ref: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Metric -> criterion of the toy's files against one of its commits."""
    done = toy.python("-c", MEASURE, ref, str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stderr)
    return {one["metric"]: one for one in json.loads(done.stdout.splitlines()[-1])}


def test_alone_nothing_is_measured_that_nothing_is_compared_with(tmp_path: Path) -> None:
    words = {"one": ["network.dim=2"], "two": ["launcher.processes_per_trial=2"]}
    base = ["launcher.device=cpu", "launcher.threads=1"]
    asked = Asked(base, words, Blocks(6, 6, 2, 1), None, False, tmp_path, tmp_path)
    said: list[str] = []
    criteria, notes = judge_night(asked, {"one": {"another machine": {}}}, said.append, lambda: None)
    assert not criteria and not said and not list(tmp_path.iterdir())
    assert "one: step time and memory are not compared: no baseline of this machine (" in notes[0]
    assert "two: step time and memory of several processes" in notes[1]


@pytest.mark.slow
def test_equal_code_passes_and_a_slower_step_and_a_larger_memory_are_caught(toy: Toy, tmp_path: Path) -> None:
    equal = measured(toy, "HEAD", tmp_path / "equal")
    assert {metric: one["verdict"] for metric, one in equal.items()} == {"step_seconds": "PASS", "peak_memory": "PASS"}

    loop, started = "src/sweeplora/training/loop.py", "        started = time.perf_counter()\n"
    toy.change(loop, started, f"{started}        time.sleep({0.1 * equal['step_seconds']['now']:.6f})\n")
    slower = measured(toy, "HEAD", tmp_path / "slower")
    assert slower["step_seconds"]["verdict"] == "REGRESSED"
    assert 0.05 < slower["step_seconds"]["effect"] < 0.2
    assert slower["step_seconds"]["p"] < 0.01
    assert slower["peak_memory"]["verdict"] == "PASS"
    toy.git("checkout", "--quiet", ".")

    grown = max(int(0.1 * equal["peak_memory"]["now"]), 80 << 20)
    toy.change(loop, "class Diverged(", f'BALLAST = b"x" * {grown}\n\n\nclass Diverged(')
    larger = measured(toy, "HEAD", tmp_path / "larger")
    assert larger["peak_memory"]["verdict"] == "REGRESSED"
    assert larger["step_seconds"]["verdict"] == "PASS"
    assert toy.git("status", "--porcelain").splitlines() == [f"M {loop}"]  # its own changes are still there
    toy.git("checkout", "--quiet", ".")


@pytest.mark.slow
def test_a_night_judges_its_steps_against_the_commit_that_it_is_given(toy: Toy, tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "small.yaml").write_text(SMALL)
    done = toy.python("-m", "sweeplora", "+sweep=small", "tracking=none", "nightly.against=main", cwd=tmp_path)
    assert done.returncode in (1, 2), done.stderr[-3000:]  # there is no baseline of its losses
    (file,) = tmp_path.glob("runs/nightly-*/nightly/report.json")
    criteria = {one["metric"]: one for one in json.loads(file.read_text())["criteria"]}
    step = criteria["step_seconds"]
    assert (step["configuration"], step["seeds"]) == ("locon", 6)
    assert toy.git("rev-parse", "main")[:12] in step["sentence"]
    assert criteria["peak_memory"]["verdict"] == "PASS"
    kept = json.loads((file.parents[1] / "speed" / "locon.json").read_text())
    assert len(kept["now"]["step_seconds"]) == len(kept["then"]["step_seconds"]) == 6
    assert len(toy.git("worktree", "list").splitlines()) == 1
