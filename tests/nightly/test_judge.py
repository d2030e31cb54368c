"""What differs between a night and its baseline, and whether the canary's bits have to agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sweeplora.nightly.baseline import Accepted, Baseline
from sweeplora.nightly.criterion import Verdict
from sweeplora.nightly.ended import Fault
from sweeplora.nightly.evidence import Evidence, Lost
from sweeplora.nightly.judge import Side, canary_of, differences, judge, trainings_of
from sweeplora.nightly.key import Key
from sweeplora.nightly.quality import Rules
from sweeplora.nightly.surroundings import Surroundings

KEY = Key("locon", "q", "m", "d", "cpu")
COURSE = tuple(float(loss) for loss in np.random.default_rng(0).uniform(0.1, 0.3, 50))
SEEDS = {seed: {"val/loss": np.random.default_rng(seed).uniform(0.1, 0.3, 40)} for seed in range(10)}
HERE = Surroundings("cpu", {"processor": "x", "threads": "1", "cores": "2"}, {"torch": "2.13.0"}, "1a2b3c4d5e6f")
EVIDENCE = Evidence(SEEDS, "triples", COURSE, COURSE, {}, "source")


def side(now: Evidence = EVIDENCE, here: Surroundings = HERE, rate: str = "0.002") -> Side:
    accepted = Accepted("", "", "", HERE.commit, "nightly-0")
    before = Baseline(KEY, accepted, HERE, {"optimizer.lr": "0.002"}, EVIDENCE)
    return Side(KEY, here, {"optimizer.lr": rate}, now, before)


def bent(evidence: Evidence, factor: float = 1 + 1e-9) -> Evidence:
    """The same with losses that are a little others from step 2 on."""
    return replace(evidence, course=(COURSE[0], *(loss * factor for loss in COURSE[1:])))


def test_code_settings_versions_and_machine_are_named_and_excuse_the_bits() -> None:
    assert differences(side()) == ()
    assert canary_of(side(bent(EVIDENCE))).verdict is Verdict.REGRESSED
    other = replace(HERE, commit="ffff")
    assert differences(side(replace(EVIDENCE, source="other"), other)) == ("the training's code (1a2b3c4d5e -> ffff)",)
    assert differences(side(rate="0.004")) == ("optimizer.lr 0.002 -> 0.004",)
    newer = replace(HERE, versions={"torch": "2.14.0"}, machine={**HERE.machine, "processor": "y"})
    assert differences(side(here=newer)) == ("torch 2.13.0 -> 2.14.0", "processor x -> y")
    assert canary_of(side(bent(EVIDENCE), newer)).verdict is Verdict.PASS
    assert canary_of(side(bent(EVIDENCE, 1.03), newer)).verdict is Verdict.REGRESSED


def test_more_cores_excuse_no_bit() -> None:
    more = replace(HERE, machine={**HERE.machine, "cores": "64"})
    assert canary_of(side(bent(EVIDENCE), more)).verdict is Verdict.REGRESSED


def test_a_device_that_did_not_repeat_itself_is_not_asked_for_its_bits() -> None:
    shaky = side(bent(EVIDENCE))
    assert shaky.baseline is not None
    before = replace(shaky.baseline, evidence=replace(EVIDENCE, again=bent(EVIDENCE).course))
    found = canary_of(replace(shaky, baseline=before))
    assert found.verdict is Verdict.PASS
    assert "this device does not repeat bits" in found.sentence


def test_other_triples_are_no_baseline_although_they_are_as_many() -> None:
    found = judge([side(replace(EVIDENCE, triples="other"))], Rules())
    assert [(one.metric, one.verdict) for one in found] == [
        ("trainings", Verdict.PASS),
        ("canary", Verdict.PASS),
        ("val/loss", Verdict.NO_BASELINE),
    ]


def test_what_the_training_did_is_told_from_what_the_machine_did() -> None:
    five = {seed: SEEDS[seed] for seed in range(5)}
    killed = replace(EVIDENCE, seeds=five, lost={5: Lost(Fault.MACHINE, "ended from outside by SIGKILL")})
    assert trainings_of(side(killed)).verdict is Verdict.INFRA
    diverged = replace(killed, lost={**killed.lost, 6: Lost(Fault.TRAINING, "loss is nan")})
    found = trainings_of(side(diverged))
    assert (found.verdict, found.sentence) == (Verdict.REGRESSED, "1 of 7 failed, e.g. seed 6: loss is nan")
