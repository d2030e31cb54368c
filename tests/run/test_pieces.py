"""A training whose batches go through the model in pieces is the same training, to rounding."""

from __future__ import annotations

import pytest

from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import TrialRecord, write_trial
from tests.run.trainings import Trainings


@pytest.mark.slow
def test_half_the_micro_batch_and_twice_the_accumulation_learn_the_same(trainings: Trainings) -> None:
    words = ("train.epochs=null", "train.steps=3", "train.batch_size=4", "train.accumulation=2", "sample=none")
    series = []
    for pieces in (1, 2):
        run = trainings.folder(f"pieces-{pieces}", *words)
        write_trial(run, TrialRecord("running", pieces=pieces))
        trainings.wait(trainings.start(run), run)
        series.append(read_metrics(run.metrics))
    for key in ("loss", "grad_norm", "val/loss"):
        whole, halves = (one[key] for one in series)
        assert list(whole) == list(halves)
        assert list(halves.values()) == pytest.approx(list(whole.values()), rel=2e-4), key
