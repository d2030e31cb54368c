"""Early stopping: after so many validations without a better one, with the best one's weights."""

from __future__ import annotations

import pytest

from sweeplora.__main__ import main
from sweeplora.config.compose import compose
from sweeplora.content import sha256
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.scores import read_scores
from sweeplora.training.patience import Patience
from tests.run.test_train import result
from tests.run.trainings import Trainings


def test_it_waits_for_so_many_validations_without_a_better_one() -> None:
    patience = Patience(2)
    taken = [patience.takes(step, mean, (mean,)) for step, mean in enumerate((0.1, 5.0, 4.0, 4.0, 3.0, 3.5, 3.1))]
    assert taken == [False, True, True, False, True, False, False], "the untrained network does not count"
    assert patience.exhausted and (patience.best, patience.step, patience.losses) == (3.0, 4, (3.0,))
    other = Patience(3)
    other.load(patience.state())
    assert other == Patience(3, 3.0, 4, (3.0,), 2) and not other.exhausted
    longer, anew = Patience(3), Patience(2)
    longer.carry_on(patience.state())
    anew.carry_on(patience.state())
    assert longer == other and anew == Patience(2, 3.0, 4, (3.0,), 0)
    for_ever = Patience(0)
    assert not for_ever.takes(1, 1.0, ()) and not for_ever.exhausted


def test_the_pruner_of_that_name_sets_it() -> None:
    config = compose(("pruner=patient",)).config
    assert config["train"]["patience"] == 3 and config["pruner"]["_target_"] == "optuna.pruners.NopPruner"
    assert compose(()).config["train"]["patience"] == 0


def test_patience_without_validation_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train.patience=2", "train.validate_every_epochs=0", "tracking=none"]) == 2
    assert "train.patience=2: nothing is validated before the end" in capsys.readouterr().err


def test_patience_without_a_validation_before_the_last_step_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for word in ("train.validate_every_epochs=8", "train.steps=13", "train.epochs=1"):
        words = ["train.epochs=null"] if word.startswith("train.steps") else []
        assert main(["train.patience=2", word, *words, "launcher=dry"]) == 2
        assert "train.patience=2: nothing is validated before the end, step" in capsys.readouterr().err


def test_patience_that_ends_no_training_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    notice = "ends no training early that validates"
    for words, told in (
        (["train.patience=30"], "train.patience=30 ends no training early that validates 7 times"),
        (["train.patience=7"], "train.patience=7 ends no training early that validates 7 times"),
        (["train.patience=6"], None),
        (["train.patience=2", "train.epochs=1", "train.validate_every_steps=2"], "validates 0 times before its last"),
    ):
        assert main([*words, "launcher=dry"]) == 0
        said = capsys.readouterr().out
        assert (told in said) if told else (notice not in said), words


@pytest.mark.slow
def test_a_training_that_gets_worse_ends_early_with_the_weights_of_its_best_epoch(trainings: Trainings) -> None:
    words = ("optimizer.lr=0.03", "scheduler=constant", "train.epochs=12", "train.batch_size=24", "sample=none")
    run = trainings.train("impatient", *words, "train.patience=1")
    ended = result(run)
    assert ended["status"] == "finished" and ended["step"] < ended["steps"], run.log.read_text()[-2000:]
    losses = read_metrics(run.metrics)["val/loss"]
    *before, last = losses
    best = min((step for step in before if step > 0), key=losses.__getitem__)
    assert f"val/loss was best at step {best}, whose weights these are" in ended["message"]
    metrics = ended["metrics"]
    assert isinstance(metrics, dict) and losses[last] == losses[best] == metrics["val/loss"]
    epoch = best // (ended["steps"] // 12)
    (of_best,) = run.weights.glob(f"*-{epoch:06d}.safetensors")
    assert ended["weights_sha256"] == sha256(of_best)
    scores = read_scores(run)
    assert scores is not None and scores.by_step[last] == scores.by_step[best]
