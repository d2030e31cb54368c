"""Nights with a stand-in training: what is trained, in which order, what it comes to, and how one goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeplora.nightly.criterion import Verdict
from sweeplora.rundir.record import readable_trials, trial_folders
from tests.nightly.nights import last, night, prepare, raise_the_rate, report_of, verb, verdicts
from tests.sweep import standin


@pytest.fixture
def place(accepted: Path, tmp_path: Path) -> Path:
    """A folder with the baselines and an empty `runs`."""
    prepare(tmp_path)
    shutil.copytree(accepted / "baselines", tmp_path / "baselines")
    return tmp_path


def test_without_a_baseline_nothing_passes(tmp_path: Path) -> None:
    prepare(tmp_path)
    code, said = night(tmp_path)
    assert code == 2
    assert report_of(tmp_path).verdict is Verdict.NO_BASELINE
    assert "there is no baseline of four" in said


def test_the_same_code_passes_with_the_same_bits_and_every_criterion_is_said(place: Path) -> None:
    code, said = night(place)
    assert code == 0
    names = ["trainings", "canary", "val/loss"]
    assert verdicts(place) == {f"{one} {metric}": "PASS" for one in ("four", "eight") for metric in names}
    assert "PASS          four canary: the first 50 losses are the same to the last bit" in said
    assert "+0.00 % (+0.00 to +0.00), limit 1.00 %, p 1, corrected 1, over triples 1, 5 seeds" in said
    assert said.count("started:") == 10
    assert {folder.name for folder in (place / "runs").glob("nightly-*")} == {last(place).path.name}


def test_a_planted_rate_is_a_regression_that_is_named_with_its_cause(place: Path) -> None:
    raise_the_rate(place)
    code, said = night(place, "nightly.stop_at_canary=false")
    assert code == 1
    found = verdicts(place)
    assert {found[f"{one} {metric}"] for one in ("four", "eight") for metric in ("canary", "val/loss")} == {"REGRESSED"}
    assert "different from the baseline of four, eight: optimizer.lr 0.002 -> 0.02" in said
    code, said = verb(place, "accept", last(place).path.name, "--reason", "no")
    assert code == 2 and "four seeds=5: a baseline needs 10" in said


def test_a_failed_canary_is_judged_first_and_spends_no_other_seed(place: Path) -> None:
    raise_the_rate(place)
    code, said = night(place)
    assert code == 1
    assert said.count("started:") == 2
    assert verdicts(place) == {"four canary": "REGRESSED", "eight canary": "REGRESSED"}
    begun = [line for line in said.splitlines() if "started:" in line or line.startswith("canary:")]
    assert [line.split()[0] for line in begun] == ["trial", "canary:", "trial", "canary:"]
    assert "- nothing but the canary was trained of eight, four: nightly.stop_at_canary=false trains" in said


def test_what_regressed_already_gets_no_more_seeds_to_decide_the_rest(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary's seed alone is worse: five seeds do not agree on the mean, and nothing is left to find out."""
    usual = standin.loss_of

    def worse(config: dict[str, Any], step: int, steps: int) -> float:
        is_worse = config["network"]["dim"] == 4 and config["seed"] == 0
        return usual(config, step, steps) * (1.3 if is_worse else 1.0)

    monkeypatch.setattr(standin, "loss_of", worse)
    code, said = night(place, "nightly.stop_at_canary=false")
    assert (code, said.count("started:")) == (1, 10)
    found = verdicts(place)
    assert (found["four canary"], found["four val/loss"]) == ("REGRESSED", "INCONCLUSIVE")
    code, said = night(place)
    assert (code, said.count("started:")) == (1, 1 + 5)
    assert {found for name, found in verdicts(place).items() if name.startswith("eight")} == {"PASS"}


def test_a_diverged_training_is_a_regression_and_no_infra(place: Path) -> None:
    assert night(place, diverge=[8])[0] == 1
    found = verdicts(place)
    assert found["eight trainings"] == "REGRESSED"
    assert found["four val/loss"] == "PASS"


@pytest.mark.slow
def test_a_training_that_fails_by_itself_each_time_is_a_regression(place: Path) -> None:
    code, said = night(place, fail_always=[4])
    assert code == 1
    assert "four trainings: 5 of 5 failed, e.g. seed 0: rank 4 does not work" in said


def test_a_machine_out_of_memory_is_infra_and_is_tried_again(place: Path) -> None:
    code, said = night(place, oom={"8": 2})
    assert code == 2
    assert verdicts(place)["eight trainings"] == "INFRA"
    assert "5 trainings that the machine ended are tried again" in said
    records = [record for _, record in readable_trials(trial_folders(last(place).path))]
    assert {len(record.attempts) for record in records if record.params["configuration"] == "eight"} == {2}
    assert night(place)[0] == 0


def test_what_is_undecided_gets_more_seeds(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two seeds worse, one of the first five, the mean moves and the test does not."""
    usual = standin.loss_of

    def worse(config: dict[str, Any], step: int, steps: int) -> float:
        is_worse = config["network"]["dim"] == 4 and config["seed"] in (2, 7)
        return usual(config, step, steps) * (1.3 if is_worse else 1.0)

    monkeypatch.setattr(standin, "loss_of", worse)
    code, said = night(place)
    assert "four is undecided: 5 more seeds" in said
    assert code == 2
    found = {one.configuration: one for one in report_of(place).criteria if one.metric == "val/loss"}
    assert (found["four"].verdict, found["four"].seeds) == (Verdict.INCONCLUSIVE, 10)
    assert (found["eight"].verdict, found["eight"].seeds) == (Verdict.PASS, 5)


def test_a_finished_night_is_followed_by_a_new_one_and_an_unfinished_one_goes_on(place: Path) -> None:
    assert night(place)[0] == 0
    first = last(place)
    content = json.loads(first.report.read_text())
    first.report.unlink()
    run = trial_folders(first.path)[3]
    shutil.rmtree(run)
    code, said = night(place)
    assert (code, said.count("started:")) == (0, 1)
    assert "goes on" in said and last(place) == first
    again = json.loads(first.report.read_text())
    assert [one["verdict"] for one in again["criteria"]] == [one["verdict"] for one in content["criteria"]]
    assert night(place)[0] == 0
    assert last(place).path.name > first.path.name
    code, said = night(place, f"sweep.name={first.path.name}")
    assert code == 2 and "that night is finished" in said


@pytest.mark.slow
def test_an_unfinished_night_says_infra_and_is_no_baseline(place: Path) -> None:
    night(place, "nightly.seeds=10")
    content = json.loads(last(place).report.read_text())
    del content["digest"]
    last(place).report.write_text(json.dumps({**content, "finished": False}))
    code, said = verb(place, "accept", last(place).path.name, "--reason", "why not")
    assert code == 2 and "the night is not finished" in said
