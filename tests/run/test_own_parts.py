"""A user's own parts, from files beside nothing but the command, in a real training."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import sweeplora
from sweeplora.rundir.files import read_json
from sweeplora.rundir.metrics import read_metrics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-parts.md"
SRC = Path(sweeplora.__file__).resolve().parents[1]


def test_an_optimizer_a_noise_a_loss_and_a_schedule_of_the_users_train(
    tmp_path: Path, tiny_model: Path, pictures: Path
) -> None:
    for name, text in re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    words = [
        f"model.path={tiny_model}", "data=folder", f"data.dir={pictures / 'train'}",
        f"data.val_dir={pictures / 'val'}",
        "launcher.threads=1",
        "train.epochs=2", "sample=none", "tracking=none", "optimizer=lode", "optimizer.lr=4e-3", "noise=shared",
        "loss=soft", "scheduler=saw",
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(SRC)}
    done = subprocess.run(
        [sys.executable, "-m", "sweeplora", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (tmp_path / "runs" / "single").iterdir()
    record = read_json(run / "result.json")
    assert record is not None and record["status"] == "finished"
    series = read_metrics(run / "metrics.jsonl")
    assert [round(rate / 4e-3, 4) for rate in series["lr/unet"].values()] == [1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5]
    assert series["val/loss"][8] != series["val/loss"][0]
