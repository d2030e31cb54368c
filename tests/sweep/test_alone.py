"""One training refuses what only a study has a use for, and takes what a study's trial is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweeplora.__main__ import main
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.sweep.alone import WITHOUT_A_STUDY, refuse_sweep, refuse_words, without_the_search


def shipped() -> dict[str, Any]:
    sweep = compose(()).config["sweep"]
    confirm = sweep.pop("confirm")
    return sweep | {f"confirm.{key}": value for key, value in confirm.items()}


def test_every_key_of_a_sweep_is_known_with_its_shipped_value() -> None:
    for_a_single_run: dict[str, object] = {"objective": "val/loss", "space": {}, "batch": None}
    assert shipped() == {**WITHOUT_A_STUDY, **for_a_single_run}


@pytest.mark.parametrize(
    "word",
    [
        "sweep.name=a",
        "sweep.trials=3",
        "sweep.replicates=2",
        "sweep.confirm.top=2",
        "sweep.confirm.seeds=7",
        "sweep.confirm.by=network.dim",
        "sweep.confirm.split=true",
        "sweep.constraints=['network.alpha < 3']",
        "sweep.enqueue=[{network.dim: 8}]",
        "sweep.warm_start=foo",
        "sweep.batch=3",
        "sweep.extend=true",
        "search=random",
        "search.seed=3",
        "pruner=rungs",
    ],
)
def test_one_training_refuses_by_key_and_value_what_only_a_study_does(word: str) -> None:
    words = [word]
    with pytest.raises(UserError) as caught:
        refuse_sweep(compose(words).config, words)
    assert str(caught.value).startswith(word.partition("=")[0]) and "there is nothing to search" in str(caught.value)


@pytest.mark.parametrize(
    "words", [[], ["sweep.objective=probe/loss"], ["sweep.confirm.top=0"], ["pruner=patient"], ["pruner=none"]]
)
def test_one_training_takes_what_has_an_effect_on_it_and_what_says_the_usual(words: list[str]) -> None:
    refuse_sweep(compose(words).config, words)


def test_all_is_refused_at_once_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["sweep.constraints=['network.alpha < 3']", "sweep.enqueue=[{network.dim: 8}]", "sweep.warm_start=foo"]
    assert main(["launcher=dry", *words, "sweep.extend=true", "search=gp"]) == 2
    said = capsys.readouterr().err.splitlines()
    keys = ["sweep.constraints", "sweep.enqueue", "sweep.warm_start", "sweep.extend", "search"]
    assert [line.partition("=")[0] for line in said] == keys
    assert all("there is nothing to search" in line for line in said)


def test_a_trials_words_keep_a_pruner_that_is_a_setting_of_the_training() -> None:
    words = ["pruner=patient", "train.patience=2", "search=random", "sweep.name=s", "+sweep=lr"]
    kept = ["pruner=patient", "train.patience=2", "+sweep=lr"]
    assert without_the_search(compose(["pruner=patient"]).config, words) == kept
    assert without_the_search(compose(["pruner=median"]).config, words) == kept[1:]
    refuse_words(compose(["pruner=patient"]).config, kept, "leave it out")
