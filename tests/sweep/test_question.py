from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from sweeplora import overrides
from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.sweep.extension import changes
from sweeplora.sweep.question import Composer, Question, read_question
from sweeplora.sweep.search.grammar import split_command_line
from tests.sweep.drive import check
from tests.sweep.inline import study


def asked(*words: str) -> Question:
    plain, swept = split_command_line(words)
    return read_question(compose(plain), Composer(plain, compose, check), swept)


def test_a_sweep_file_and_the_command_line_make_one_question() -> None:
    question = asked("+sweep=rank_alpha", "network.alpha=2", "optimizer.lr=2e-3", "network.dim=choice(4,32)")
    assert question.space.described() == {"network.dim": "choice(4, 32)"}
    assert (question.name, question.trials, question.objectives) == ("rank_alpha", 24, ("val/loss",))
    assert question.replication.by == "network.dim"


def test_confirming_by_a_key_that_the_command_line_fixes_confirms_the_best_few() -> None:
    question = asked("+sweep=rank_alpha", "network.dim=8")
    assert (question.replication.by, question.replication.top) == (None, 4)
    assert any("sweep.confirm.by=network.dim has one value here" in line for line in question.notices)


def test_a_study_may_use_a_slot_for_every_training_that_can_run_at_once() -> None:
    grid = ("network.dim=choice(4,8)", "search=grid")
    assert asked(*grid).most_at_once(1) == 1
    assert asked(*grid, "sweep.replicates=3").most_at_once(2) == 6
    assert asked(*grid, "sweep.confirm.top=2").most_at_once(0) == 2
    assert asked(*grid, "pruner=rungs").most_at_once(0) == 2, "trials that have ended may go on"


def test_a_sweep_on_the_command_line_alone_is_named_after_its_keys() -> None:
    question = asked("network.dim=choice(4,8)", "optimizer.lr=choice(1e-3,1e-4)", "search=grid")
    assert (question.name, question.trials) == ("dim_lr", 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["network.dim=choice(4,8)"], r"sweep\.trials=None: give a number of trials"),
        (["network.dim=choice(4,8)", "search=grid", "sweep.trials=3"], "the space has 2 points"),
        (["network.dim=interval(4,8)", "search=grid"], "a grid needs choice"),
        (["+sweep=rank_alpha", "network.dim=4", "network.alpha=1", "optimizer.lr=1e-3"], "nothing is left to search"),
        (["network.dims=choice(4,8)", "search=grid"], r"network\.dims=4: no such key; nearest: network\.dim"),
        (["network=choice(locon,lokon)", "search=grid"], "network=lokon: no such choice"),
        (["network.dim=choice(4,13)", "search=grid"], "network.dim=13: give another"),
        (["network.dim=choice(4,8)", "search=grid", "sweep.name=single"], "give a folder's name"),
        (["network.dim=choice(4,8)", "search=grid", "sweep.name=a/b"], "give a folder's name"),
        (
            ["train.mixed_precision=choice('no',bf16)", "train.validation_precision=run", "search=grid"],
            r"train\.validation_precision=run: this sweep varies train\.mixed_precision \(no, bf16\)",
        ),
        (
            ["model.base_precision=choice(null,fp8)", "train.validation_precision=run", "search=grid"],
            r"train\.validation_precision=run: this sweep varies model\.base_precision \(null, fp8\)",
        ),
        (
            ["train=choice(quick,full)", "search=grid"],
            r"train\.validation_precision=fp32 and run: trials measured diff",
        ),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        asked(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["train.mixed_precision=choice('no',bf16)"],
        ["train=full", "train.mixed_precision=choice('no',bf16)", "train.validation_precision=fp32"],
        ["train=full", "network.dim=choice(4,8)"],
    ],
)
def test_trials_are_compared_in_one_precision(words: list[str]) -> None:
    assert asked(*words, "search=grid").trials == 2


def test_the_same_question_is_known_again_and_another_is_told_by_its_keys() -> None:
    words = ["+sweep=rank_alpha"]
    before: dict[str, Any] = dict(asked(*words).identity)

    def changed(*more: str) -> list[str]:
        plain, _ = split_command_line((*words, *more))
        composer = Composer(plain, compose, check)
        identity = asked(*words, *more).identity
        return [change.key for change in changes(before, identity, lambda first: composer.experiment(first).signature)]

    assert changed("launcher.slots=1", "runs=elsewhere", "tracking=none") == []
    assert changed("train.epochs=3") == ["train.epochs"]
    assert changed("network.dim=choice(2,4)") == ["space.network.dim"]
    assert changed("network.dim=choice(4,8)") == ["space.network.dim"]
    assert changed("search=random", "sweep.trials=5") == ["search"]
    before["signature"] = "another"
    (key,) = changed()
    assert "program's own version" in key


def test_a_word_is_parsed_once_on_its_way_to_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: Counter[str] = Counter()
    parse_override = OverridesParser.parse_override

    def counted(parser: OverridesParser, word: str) -> Override:
        parsed[word] += 1
        return parse_override(parser, word)

    monkeypatch.setattr(OverridesParser, "parse_override", counted)
    overrides.parse.cache_clear()
    words = ["+sweep=rank_alpha", "seed=3", "network.dim=choice(4,32)", "train.epochs=2"]
    plain, swept = split_command_line(words)
    composer = Composer(plain, compose, check)
    read_question(compose(plain), composer, swept)
    for dim in (4, 32, 4):
        composer.experiment([f"network.dim={dim}", "network.alpha=1"])
    assert set(words) <= set(parsed)
    # Hydra itself may parse the choice of a file once more, when it merges the files.
    assert [word for word, times in parsed.items() if times > 1 and word != "+sweep=rank_alpha"] == []


def test_of_a_very_wide_space_the_rest_is_checked_while_trials_run(tmp_path: Path) -> None:
    names = ", ".join(f"n{number}" for number in range(40))

    def check_name(configuration: Configuration) -> Experiment:
        checked.append(configuration.config["network"]["preset"])
        if configuration.config["network"]["preset"] == "n37":
            raise UserError("network.preset", "n37", "give another")
        return check(configuration)

    checked: list[str] = []
    words = ("sweep.name=s", f"network.preset=choice({names})", "search=random", "sweep.trials=2000")
    code, said = study(tmp_path, *words, check=check_name)
    assert checked[:24] == [f"n{number}" for number in range(24)] and "n37" in checked
    assert code == 2 and "network.preset=n37: give another\nthe trials so far are kept" in said
    assert 1 <= len(list((tmp_path / "runs/s").glob("*/trial.json"))) < 100


def test_of_many_combinations_of_files_fewer_are_checked_before_the_first_trial(tmp_path: Path) -> None:
    kinds = "constant,cosine,cosine_min_lr,inverse_sqrt,linear,piecewise,polynomial,restarts"
    files = asked(f"scheduler=choice({kinds})", "optimizer.lr=interval(1e-4,1e-3)", "sweep.trials=9")
    assert [words[0] for words in files.unchecked] == ["scheduler=polynomial", "scheduler=restarts"]
    values = asked(f"network.alpha=choice({','.join(f'text{n}' for n in range(26))})", "sweep.trials=9")
    assert [words[0] for words in values.unchecked] == ["network.alpha=text24", "network.alpha=text25"]
