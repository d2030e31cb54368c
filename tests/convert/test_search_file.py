"""The search that a conversion writes beside the training: the user's settings first, and in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.convert.search_file import around
from sweeplora.sweep.question import Composer, read_question
from sweeplora.sweep.search.space import Space
from tests.convert.commands import LEAST, NETWORK
from tests.sweep.drive import check

COMMAND = f"accelerate launch sdxl_train_network.py {LEAST} {NETWORK} --learning_rate=1e-4"


def test_the_users_point_is_the_first_and_the_middle_of_every_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"{COMMAND} --network_dim=16 --network_alpha=4"]) == 0
    said = capsys.readouterr().out
    assert "sweeps/it_search.yaml, a search around these settings: python -m sweeplora +sweep=it_search" in said
    assert "python -m sweeplora +sweep=it_search" in Path("sweeps/it.yaml").read_text()
    words = ("+sweep=it_search",)
    configuration = compose(words)
    question = read_question(configuration, Composer(words, compose, check), Space())
    assert question.points == ({"optimizer.lr": 1e-4, "network.dim": 16, "network.alpha": 4},)
    assert question.space.described() == {
        "optimizer.lr": "tag(log, interval(2e-05, 0.0005))",
        "network.dim": "choice(8, 16, 32)",
        "network.alpha": "choice(2.0, 4.0, 8.0)",
    }
    assert configuration.config["data"]["val_split"] == 0.1
    single = compose(("+sweep=it",)).config
    assert single["sweep"]["name"] is None and single["data"]["val_split"] == 0.0


def test_what_is_not_a_number_is_no_range() -> None:
    assert around({"network.dim": 1, "network.alpha": 0.5, "optimizer.lr": None}, "x") == {
        "name": "x",
        "objective": "val/loss",
        "trials": 20,
        "enqueue": [{"network.dim": 1, "network.alpha": 0.5}],
        "space": {"network.dim": "choice(1, 2)", "network.alpha": "choice(0.25, 0.5, 1.0)"},
    }
    assert around({"optimizer.lr": 0, "seed": 3}, "x") is None


def test_a_search_around_a_resumed_training_begins_anew_and_says_so(
    tmp_path: Path, tiny_model: Path, few: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = (
        f"accelerate launch sdxl_train_network.py --pretrained_model_name_or_path={tiny_model} --output_name=it "
        f"--train_data_dir={few} --resolution=64 --network_dim=8 --max_train_steps=4 {NETWORK} --learning_rate=1e-4"
    )
    assert main([f"{command} --resume={tmp_path}/it-state"]) == 0
    assert "A search around these settings begins at the first step" in capsys.readouterr().out
    text = Path("sweeps/it_search.yaml").read_text()
    assert "# It begins at the first step, without train.resume" in text
    words = ("+sweep=it_search",)
    assert compose(words).config["train"]["resume"] is None
    assert compose(("+sweep=it",)).config["train"]["resume"] is not None
    question = read_question(compose(words), Composer(words, compose, check), Space())
    assert question.space.described()["network.dim"] == "choice(4, 8, 16)"


def test_the_rank_of_a_file_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"{COMMAND} --network_weights=w.safetensors --network_dim=16 --network_alpha=4"]) == 0
    assert "# Ranks are not searched: network.weights has its own." in Path("sweeps/it_search.yaml").read_text()
    sweep = compose(("+sweep=it_search",)).config["sweep"]
    assert list(sweep["space"]) == list(sweep["enqueue"][0]) == ["optimizer.lr", "network.alpha"]
    values = {"optimizer.lr": 1e-4, "network.alpha": 2, "network.weights": "w", "network.dim_from_weights": True}
    assert list((around(values, "x") or {})["space"]) == ["optimizer.lr"]
