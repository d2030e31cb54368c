from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest

from sweeplora.config.compose import compose
from sweeplora.errors import UserError
from sweeplora.experiment import Configuration, Experiment
from sweeplora.report.leaderboard import Entry, Leaderboard, make_entry, ranked
from sweeplora.rundir.record import TrialOutcome, TrialRecord, read_trial
from sweeplora.sweep.question import Composer, read_question
from sweeplora.sweep.replicates import Repetition, ReplicateRules, Replicates, mean_outcome, read_replicate_rules
from sweeplora.sweep.search.grammar import split_command_line
from tests.sweep.commands import command, living_in, records, start, until
from tests.sweep.drive import check, main
from tests.sweep.inline import study

GRID = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)")


def luck(seed: int, dim: int) -> float:
    """What the stand-in's loss owes to the seed."""
    return math.sin(seed * (1 + dim)) / 1000


def points_and_repetitions(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    found = records(folder)
    return [r for r in found if r["replicate"] is None], [r for r in found if r["replicate"] is not None]


def told(folder: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/runs/optuna.db").trials


def test_every_point_has_one_value_the_mean_of_its_seeds(tmp_path: Path) -> None:
    code, output = study(tmp_path, *GRID, "sweep.replicates=3", "seed=5")
    assert code == 0, output
    points, again = points_and_repetitions(tmp_path)
    assert [r["number"] for r in points] == [0, 1, 2]
    assert sorted((r["number"], r["replicate"]) for r in again) == [(n, i) for n in range(3) for i in (1, 2)]
    for point in points:
        dim = point["params"]["network.dim"]
        own = point["own"] - luck(5, dim)
        assert point["value"] == pytest.approx(own + fmean(luck(seed, dim) for seed in (5, 6, 7)))
    assert [trial.values[0] for trial in told(tmp_path)] == [point["value"] for point in points]
    assert all(trial.user_attrs["standard error"][0] > 0 for trial in told(tmp_path))
    assert "over 3 seeds" in output
    folders = sorted(path.name.partition("-")[0] for path in (tmp_path / "runs/s").glob("00*"))
    assert folders == [f"{n:03}{i}" for n in range(3) for i in ("", ".1", ".2")]
    code, output = study(tmp_path, *GRID, "sweep.replicates=3", "seed=5")
    assert code == 0 and "started" not in output


def test_only_the_best_are_trained_again_and_a_killed_driver_loses_nothing(tmp_path: Path) -> None:
    words = (*GRID, "sweep.confirm={top: 2, seeds: 3}", "launcher.slots=2")
    first = start(tmp_path, *words, behaviour={"steps": 5, "seconds": 0.1})
    until(lambda: any(tmp_path.glob("runs/s/*.1-*/result.json")))
    first.kill()
    first.communicate()
    until(lambda: living_in(tmp_path) == [])
    code, output = study(tmp_path, *words[:-1])
    assert code == 0, output
    points, again = points_and_repetitions(tmp_path)
    assert {r["verdict"] for r in (*points, *again)} == {"complete"}
    best = {r["number"] for r in points if r["params"]["network.dim"] in (4, 8)}
    assert {r["number"] for r in again} == best
    assert len(told(tmp_path)) == 3
    found = json.loads((tmp_path / "runs/s/verdict.json").read_text())
    assert found["best"] == next(r["number"] for r in points if r["params"]["network.dim"] == 8)
    assert f"verdict: trial {found['best']} is the best over" in output
    assert found["lines"][0] in (tmp_path / "runs/s/leaderboard.md").read_text()


def test_a_seed_too_large_for_the_repetitions_is_refused_before_anything_starts(tmp_path: Path) -> None:
    def small(configuration: Configuration) -> Experiment:
        if configuration.config["seed"] > 6:
            raise UserError("seed", configuration.config["seed"], "give 6 or less")
        return check(configuration)

    for words in (["sweep.replicates=3"], ["sweep.confirm={top: 2, seeds: 2}"]):
        code, said = study(tmp_path, *GRID, *words, "seed=5", check=small)
        assert code == 2 and "trains with seed=7 too, which is refused: seed=7: give 6 or less" in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("word", ["sweep.replicates=3", "sweep.confirm={top: 2, seeds: 2}"])
def test_a_repetition_that_cannot_run_fails_by_name_and_the_study_goes_on(tmp_path: Path, word: str) -> None:
    def flaky(configuration: Configuration) -> Experiment:
        if configuration.config["seed"] == 6:
            raise UserError("data.dir", "pictures", "there is no such folder")
        return check(configuration)

    code, output = study(tmp_path, *GRID, word, "seed=5", check=flaky)
    points, again = points_and_repetitions(tmp_path)
    assert {r["verdict"] for r in points} == {"complete"}
    assert {(r["replicate"], r["verdict"]) for r in again} == {(1, "failed"), (2, "complete")}
    assert {r["message"] for r in again if r["replicate"] == 1} == {"data.dir=pictures: there is no such folder"}
    assert "trial 0.1 failed" in output and code == 0
    code, output = study(tmp_path, *GRID, word, "seed=5")
    assert code == 0 and "started" not in output


def test_a_repetition_reads_what_its_trial_read_but_for_another_split(tmp_path: Path) -> None:
    def hashed(configuration: Configuration) -> Experiment:
        seed, split = configuration.config["seed"], configuration.config["data"]["validation_seed"]
        changed = "other" if (tmp_path / "changed").exists() and seed == 1 else "same"
        contents = {"data.dir": f"split {split}", "model.path": changed}
        return replace(check(configuration), contents=contents)

    words = (*GRID, "sweep.confirm={top: 2, seeds: 2, split: true}")
    assert study(tmp_path, *words, check=hashed)[0] == 0
    assert {r["verdict"] for r in points_and_repetitions(tmp_path)[1]} == {"complete"}
    (tmp_path / "changed").touch()
    _, output = study(tmp_path, "sweep.name=t", *words[1:], check=hashed)
    assert "trial 0.1 failed" in output or "trial 1.1 failed" in output
    assert "model.path=other: its content has changed since the trial was trained" in output


def test_a_repetition_that_diverges_takes_its_trial_along() -> None:
    own = TrialOutcome("complete", "", (1.0,))
    fine = [TrialRecord("complete", value=value, replicate=i) for i, value in enumerate((2.0, 3.0), 1)]
    outcome, errors = mean_outcome(own, fine)
    assert outcome == TrialOutcome("complete", "mean of 3 seeds", (2.0,))
    assert errors == pytest.approx((3**-0.5,))
    failed = TrialRecord("failed", replicate=3)
    assert mean_outcome(own, [*fine, failed])[0].message == "mean of 3 seeds, 1 failed"
    outcome, _ = mean_outcome(own, [*fine, TrialRecord("diverged", replicate=4, message="nan")])
    assert (outcome.verdict, outcome.message) == ("diverged", "with repetition 4: nan")


def entry(number: int, value: float, dim: int = 0, replicate: int | None = None) -> Entry:
    params = {"dim": dim, "place": number}
    record = TrialRecord("complete", number=number, value=value, params=params, replicate=replicate)
    return make_entry(Path(f"{number}.{replicate}"), record, 1)


def board(*entries: Entry) -> Leaderboard:
    return ranked("s", ("val/loss",), entries)


def drain(replicates: Replicates, values: dict[int, float], entries: list[Entry]) -> list[tuple[int, int]]:
    """Train what is due, each with the value of its trial and a seed's luck, until nothing is."""
    order = []
    while (due := replicates.due_of_the_best(board(*entries))) is not None:
        order.append((due.number, due.place))
        replicates.began(due)
        value = values[due.number] * (1 + 0.001 * math.sin(due.number * 7 + due.place * 3))
        entries.append(entry(due.number, value, replicate=due.place))
        replicates.ended(TrialRecord("complete", number=due.number, replicate=due.place))
    return order


def test_rounds_end_when_the_best_have_separated() -> None:
    entries = [entry(0, 1.0), entry(1, 1.3), entry(2, 1.6), entry(3, 1.7)]
    order = drain(Replicates(ReplicateRules(top=3, seeds=5)), {0: 1.0, 1: 1.3, 2: 1.6}, entries)
    assert order == [(0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2)]


def test_rounds_go_on_for_those_that_have_not_separated() -> None:
    entries = [entry(0, 1.0), entry(1, 1.0001), entry(2, 1.6), entry(3, 1.7)]
    order = drain(Replicates(ReplicateRules(top=3, seeds=4)), {0: 1.0, 1: 1.0, 2: 1.6}, entries)
    assert [pair for pair in order if pair[0] != 2] == [(n, i) for i in (1, 2, 3, 4) for n in (0, 1)]
    assert [pair for pair in order if pair[0] == 2] == [(2, 1), (2, 2)]


def test_an_idle_slot_does_not_wait_for_the_end_of_a_round() -> None:
    replicates = Replicates(ReplicateRules(top=2, seeds=3))
    entries = [entry(0, 1.0), entry(1, 1.1), entry(2, 2.0)]
    begun = []
    for _ in range(6):
        due = replicates.due_of_the_best(board(*entries))
        assert due is not None
        replicates.began(due)
        begun.append((due.number, due.place))
    assert begun == [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    assert replicates.due_of_the_best(board(*entries)) is None
    replicates.ended(TrialRecord("interrupted", number=1, replicate=2))
    assert replicates.due_of_the_best(board(*entries)) == Repetition(1, 2, entries[1].folder)


def test_the_best_of_each_value_of_a_key_are_confirmed() -> None:
    entries = [entry(0, 1.0, dim=4), entry(1, 1.1, dim=4), entry(2, 1.2, dim=8), entry(3, 1.3, dim=16)]
    replicates = Replicates(ReplicateRules(top=3, seeds=2, by="dim"))
    values = {number: 1.0 for number in range(4)}
    assert {number for number, _ in drain(replicates, values, entries)} == {0, 2, 3}


@pytest.mark.slow
def test_a_repetition_is_named_after_its_seed_and_reused(tmp_path: Path) -> None:
    one = ("sweep.name=s", "search=grid", "network.dim=choice(4,8)", "sweep.replicates=2")
    assert command(tmp_path, *one, "seed=3")[0] == 0
    (run,) = (tmp_path / "runs/s").glob("000.1-*")
    record = read_trial_of(run)
    assert record.overrides[-1] == "seed=4"
    assert json.loads((run / "naming.json").read_text())["stem"].endswith("-seed4")
    other = ("sweep.name=other", *one[1:], "seed=4")
    assert command(tmp_path, *other)[0] == 0
    (again,) = (tmp_path / "runs/other").glob("000-*")
    assert str(read_trial_of(again).found).startswith("s/00") and ".1-" in str(read_trial_of(again).found)


def read_trial_of(folder: Path) -> TrialRecord:
    from sweeplora.rundir.folder import RunDir

    found = read_trial(RunDir(folder))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed=choice(0,1,2)"], "sweep.space.seed=searched: a seed is no setting: .*sweep.replicates=3"),
        (["network.dim=choice(4,8)", "seed=range(0,3)"], "sweep.space.seed"),
        (["data.validation_seed=choice(0,1)"], "sweep.space.data.validation_seed=searched: changes what the objective"),
        (["train.validation_timesteps=choice(2,4)"], "could not be compared"),
        (["network.dim=choice(4,8)", "sweep.replicates=0"], "sweep.replicates=0: give a whole number of 1"),
        (["network.dim=choice(4,8)", "sweep.replicates=true"], "sweep.replicates=True"),
        (["network.dim=choice(4,8)", "sweep.confirm.top=1"], "sweep.confirm.top=1: one trial alone"),
        (["network.dim=choice(4,8)", "sweep.confirm.top=-2"], "sweep.confirm.top=-2"),
        (["network.dim=choice(4,8)", "sweep.confirm.seeds=1"], "sweep.confirm.seeds=1: give a whole number of 2"),
        (["network.dim=choice(4,8)", "sweep.confirm=3"], "sweep.confirm=3: give {top: 3, seeds: 5}"),
        (["network.dim=choice(4,8)", "sweep.confirm.by=network.alfa"], "is not searched; give one of network.dim"),
        (["network.dim=choice(4,8)", "sweep.confirm.split=maybe"], "give true or false"),
        (["network.dim=choice(4,8)", "sweep.confirm.top=2", "sweep.replicates=3"], "has no effect beside"),
        (["network.dim=choice(4,8)", "sweep.confirm.seeds=7"], "sweep.confirm.seeds=7: has no effect with .*top=0"),
        (["network.dim=choice(4,8)", "sweep.confirm.seeds=5"], "sweep.confirm.seeds=5: has no effect with"),
        (["network.dim=choice(4,8)", "sweep.confirm={seeds: 7}"], "sweep.confirm.seeds=7: has no effect with"),
        (["network.dim=choice(4,8)", "sweep.confirm={top: 0, split: true}"], "sweep.confirm.split=True: has no effect"),
        (["network.dim=choice(4,8)", "sweep.confirm.by=network.dim"], "sweep.confirm.by=network.dim: has no effect"),
        (["+sweep=rank_alpha", "sweep.confirm.top=0", "sweep.confirm.split=true"], "sweep.confirm.split=True: has no"),
        (["network.dim=choice(4,8)", "sweep.confirm.top=2", "sweep.objective=[val/loss,probe/loss]"], "no best few"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], told: str) -> None:
    plain, swept = split_command_line(["search=random", "sweep.trials=3", *words])
    with pytest.raises(UserError, match=told):
        read_question(compose(plain), Composer(plain, compose, check), swept)


def test_confirming_is_turned_off_by_one_word_and_says_nothing_of_it() -> None:
    plain, swept = split_command_line(["+sweep=rank_alpha", "sweep.confirm.top=0", "network.dim=8"])
    question = read_question(compose(plain), Composer(plain, compose, check), swept)
    assert question.replication.top == 0 and not any("confirm" in line for line in question.notices)


def test_a_sweep_file_that_says_how_to_confirm_and_not_how_many_is_refused() -> None:
    sweep = compose(["sweep.confirm.seeds=7"]).config["sweep"]
    with pytest.raises(UserError, match=r"sweep\.confirm\.seeds=7: has no effect"):
        read_replicate_rules(sweep, ["val/loss"], ["network.dim"])


@pytest.mark.parametrize("word", ["sweep.replicates=3", "sweep.confirm.top=3"])
def test_a_single_run_is_not_repeated(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word]) == 2
    assert "there is nothing to search, and a single run has one seed" in capsys.readouterr().err


def test_a_split_seed_draws_the_validation_anew() -> None:
    sweep = compose(["sweep.confirm={top: 3, split: true}"]).config["sweep"]
    rules = read_replicate_rules(sweep, ["val/loss"], ["network.dim"])
    assert (rules.top, rules.seeds, rules.split) == (3, 5, True)
    config = {"seed": 7, "data": {"validation_seed": 2}}
    assert rules.words(config, 3) == ("seed=10", "data.validation_seed=5")
