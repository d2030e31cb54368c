"""A user's own parts, from files beside nothing but the command, in a real training."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.files import read_json
from sweeplora.rundir.metrics import read_metrics
from tests.launchers import name_them

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-parts.md"


def test_an_optimizer_a_noise_a_loss_and_a_schedule_of_the_users_train(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = ["train.steps=4", "optimizer=lode", "optimizer.lr=4e-3", "noise=shared", "loss=soft"]
    words += ["scheduler=saw", "scheduler.teeth=2"]
    name_them(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([*small, *words, "launcher=forked"]) == 0, capsys.readouterr()
    (run,) = (tmp_path / "runs" / "single").iterdir()
    record = read_json(run / "result.json")
    assert record is not None and record["status"] == "finished"
    series = read_metrics(run / "metrics.jsonl")
    assert [round(rate / 4e-3, 4) for rate in series["lr/unet"].values()] == [1, 0.5, 1, 0.5]
    assert series["val/loss"][4] != series["val/loss"][0]
