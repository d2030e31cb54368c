"""What a checkout of any age composes a night's trainings from."""

from __future__ import annotations

import contextlib
from pathlib import Path

import yaml

from sweeplora.config.compose import compose
from sweeplora.nightly.composing import compose_folder, sweep_named, training_words

SWEEP = """# @package _global_
# A question.
defaults:
  - override /network: lokr
  - override /search: grid
train:
  epochs: 3
optimizer:
  lr: 0.123
nightly:
  configurations: {plain: []}
sweep:
  name: mine
  space: {seed: "choice(1,2)"}
tracking:
  uri: null
"""


def test_the_sweeps_file_keeps_what_decides_a_result_and_nothing_else(tmp_path: Path) -> None:
    here, folder = tmp_path / "here", tmp_path / "compose"
    (here / "sweeps").mkdir(parents=True)
    (here / "sweeps" / "mine.yaml").write_text(SWEEP)
    words = compose_folder(folder, here, "mine")
    with contextlib.chdir(folder):
        config = compose([*words, "network.dim=2"]).config
    assert config["network"]["_target_"].endswith("LoKr")
    assert (config["train"]["epochs"], config["optimizer"]["lr"], config["network"]["dim"]) == (3, 0.123, 2)
    assert config["sweep"]["name"] is None
    written = yaml.safe_load((folder / "sweeps" / "mine.yaml").read_text())
    assert sorted(written) == ["defaults", "optimizer", "train"]
    assert written["defaults"] == [{"override /network": "lokr"}]


def test_a_users_own_conf_comes_along_and_the_packages_own_does_not(tmp_path: Path) -> None:
    mine = tmp_path / "here" / "conf" / "noise"
    mine.mkdir(parents=True)
    (mine / "mine.yaml").write_text("# Mine.\ndefaults:\n  - plain\n  - _self_\n")
    compose_folder(tmp_path / "compose", tmp_path / "here", None)
    assert (tmp_path / "compose" / "conf" / "noise" / "mine.yaml").is_file()
    checkout = Path(__file__).resolve().parents[2]
    compose_folder(tmp_path / "of the checkout", checkout, None)
    assert not (tmp_path / "of the checkout" / "conf").exists()


def test_words_of_where_and_how_are_no_trainings_words() -> None:
    words = ["+sweep=nightly", "nightly.seeds=5", "runs=/r", "launcher.slots=1", "tracking=none", "sweep.name=x"]
    kept = ["network=lokr", "+optimizer.eps=1e-8", "seed=3", "~train.compile"]
    assert training_words([*words, *kept]) == kept
    assert sweep_named(words) == "nightly"
