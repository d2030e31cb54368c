"""The words that a trial's record has are a command: they train the same experiment alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.commands import records
from tests.sweep.inline import study

FILE = """# @package _global_
# A kind of network and its rank, with a value that the file itself sets for every kind.
network:
  rank_dropout: 0.1
train:
  batch_size: 2
sweep:
  name: kinds
  trials: 4
  replicates: 2
  space:
    network: choice(locon, loha)
    network=locon: {network.dim: 'choice(2, 4)'}
    network=loha: {network.dim: 8, network.alpha: 'interval(0.5, 2.0)'}
"""


def singles(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "runs/single").glob("*/trial.json"))]


def retrained(folder: Path, recorded: Sequence[dict[str, Any]]) -> None:
    """Each record's words train the experiment of its signature, in a place of their own."""
    for number, record in enumerate(recorded):
        place = folder / f"again{number}"
        place.mkdir()
        (place / "sweeps").symlink_to(folder / "sweeps")
        words = [word for word in record["overrides"] if word not in ("tracking=none", "launcher=inline")]
        code, said = study(place, *words)  # which adds these two itself
        assert code == 0, said
        (single,) = singles(place)
        assert single["signature"] == record["signature"] and single["study"] is None
        assert not (place / "runs/optuna.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("sweep.name=s", "search=random", "search.seed=3", "sweep.trials=2", "pruner=median", "train.batch_size=3",
         "network.dim=choice(2,4)", "optimizer.betas=choice([0.9,0.99],[0.8,0.9])", "sweep.objective=val/best"),
        ("+sweep=kinds", "search=random", "search.seed=2", "seed=5", "sweep.trials=2", "sweep.name=mine"),
    ],
)  # fmt: skip
def test_the_words_of_a_record_train_the_same_experiment(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/kinds.yaml").write_text(FILE)
    code, said = study(tmp_path, *words)
    assert code == 0, said
    name = "mine" if "+sweep=kinds" in words else "s"
    recorded = records(tmp_path, name)
    assert len({record["signature"] for record in recorded}) == len(recorded) >= 2
    retrained(tmp_path, (recorded[0], recorded[-1]))


def test_words_about_a_study_are_refused_where_nothing_is_left_to_search(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/kinds.yaml").write_text(FILE)
    code, said = study(tmp_path, "+sweep=kinds", "network=locon", "network.dim=4", "sweep.trials=2")
    assert code == 2 and said.startswith("sweep.trials=2: every key of the sweep has one value (network=locon")
    assert not (tmp_path / "runs").exists()
