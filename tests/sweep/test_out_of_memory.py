"""Memory that runs out: the search learns how much was missing, or the trial is tried again in smaller pieces."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest

from sweeplora.sweep.outcomes import missing_memory
from sweeplora.sweep.storage import open_storage
from tests.sweep.commands import records
from tests.sweep.inline import study

WORDS = ("sweep.name=s", "search=grid", "network.dim=choice(2,4,8)")


def test_a_trial_is_tried_again_in_smaller_pieces_until_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"oom": {"4": 4, "8": 16}}))
    code, said = study(tmp_path, *WORDS, "launcher.on_oom=halve")
    by_dim = {record["params"]["network.dim"]: record for record in records(tmp_path)}
    assert code == 1
    assert [(by_dim[dim]["verdict"], by_dim[dim]["pieces"]) for dim in (2, 4, 8)] == [
        *(("complete", 1), ("complete", 4), ("failed", 4))
    ]
    assert len(by_dim[4]["attempts"]) == 3, "whole, in two pieces, in four"
    assert "tried again with micro-batches of 1 of 4 images, 4 times the accumulation" in said
    assert by_dim[8]["message"].endswith("even at one image at a time")
    assert len({record["signature"] for record in by_dim.values()}) == 3


def test_without_halving_the_search_is_taught_what_was_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STANDIN", json.dumps({"oom": {"8": 2}}))
    study(tmp_path, *WORDS)
    told = optuna.load_study(study_name="s", storage=open_storage(tmp_path / "runs/optuna.db"))
    states = {trial.params["network.dim"]: (trial.state.name, trial.constraints) for trial in told.trials}
    assert states[8] == ("PRUNED", {"GiB of memory missing": 3.0})
    assert states[4] == ("COMPLETE", {})
    (failed,) = [record for record in records(tmp_path) if record["verdict"] == "failed"]
    assert len(failed["attempts"]) == 1, "another attempt could not end differently"


@pytest.mark.parametrize(
    ("message", "gib"),
    [
        ("Tried to allocate 2.00 GiB. GPU 0 has 80 GiB of which 512.00 MiB is free.", 1.5),
        ("Tried to allocate 20.00 MiB. GPU 0 has 80 GiB of which 19.00 MiB is free.", 2.0**-10),
        ("Tried to allocate 1.00 MiB. GPU 0 has 80 GiB of which 9.00 GiB is free.", 2.0**-10),
        ("out of memory: the kernel ended it (SIGKILL)", 1.0),
    ],
)
def test_the_missing_memory_is_read_from_the_message(message: str, gib: float) -> None:
    assert missing_memory(message) == pytest.approx(gib)
