"""The whole way: train in a dirty workspace, lose all but the tracking server's storage, restore, train again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import read_result, read_trial
from tests.record.restore.desk import Desk

_NOISE = """
import torch
from strength import VALUE


def mine(latents, generators):
    drawn = [VALUE * torch.randn(one.shape, generator=g) for one, g in zip(latents, generators, strict=True)]
    return torch.stack(drawn).to(latents.device)
"""


@pytest.mark.slow
def test_all_but_the_servers_storage_is_lost_and_the_same_bytes_come_back(
    tmp_path: Path,
    tiny_model: Path,
    pictures: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    desk = Desk(tmp_path)
    desk.push()
    desk.soil()
    (desk.path / "my_noise.py").write_text(_NOISE)
    (desk.path / "strength.py").symlink_to("ext/sub/lib.py")  # the submodule's uncommitted change is in the result
    (desk.path / "conf/noise").mkdir(parents=True)
    (desk.path / "conf/noise/mine.yaml").write_text("_target_: my_noise.mine\n_partial_: true\n")
    shutil.copytree(pictures / "train", desk.path / "pics/train")
    shutil.copytree(pictures / "val", desk.path / "pics/val")
    (desk.path / "prompts.txt").write_text("shape 3, ellipse --d 5 --s 2 --w 32 --h 32\n")
    monkeypatch.chdir(desk.path)
    words = [f"model.path={tiny_model}", "data=folder", "data.dir=pics/train", "data.val_dir=pics/val", "noise=mine"]
    words += ["sample.prompts=prompts.txt", "sample.at_first=false", "train.epochs=null", "train.steps=2"]
    words += ["network.dim=choice(2,4)", "sweep.name=small", "sweep.trials=1", "search=random"]
    assert main(words) == 0
    trained = next((desk.path / "runs/small").glob("000-*"))
    first = read_result(RunDir(trained))
    assert first is not None and first.weights_sha256 is not None
    before = {name: part for name, part in desk.contents().items() if not name.startswith("pics/")}

    storage, attic = tmp_path / "storage", tmp_path / "attic"
    storage.mkdir()
    attic.mkdir()
    for name in ("mlflow.db", "artifacts"):
        shutil.move(desk.path / "runs" / name, storage / name)
    for number, picture in enumerate(sorted((desk.path / "pics").rglob("*.png"))):
        shutil.move(picture, attic / f"{number}.bin")
    for folder in (desk.path, desk.remote, desk.sub):
        shutil.rmtree(folder)
    (tmp_path / "other machine").mkdir()
    monkeypatch.chdir(tmp_path / "other machine")
    where = f"tracking.uri=sqlite:///{storage}/mlflow.db"
    assert main(["restore", "small/0", "again", where, "--look-in", str(attic)]) == 0
    monkeypatch.chdir("again")
    again = desk.contents(Path.cwd())
    assert {name: part for name, part in again.items() if not name.startswith("pics/")} == before

    capsys.readouterr()
    report = tmp_path / "report.json"
    assert main(["rerun", "small/0", "--json", str(report)]) == 0
    assert "identical to small/000-" in capsys.readouterr().out
    told = read_json(report) or {}
    assert told["weights"] == [first.weights_sha256] * 2 and told["steps"] == 2 and told["parts_at"] is None

    _changed_in_its_seed_alone(capsys)


def _changed_in_its_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    restored = next(Path("runs/small").glob("000-*"))
    assert main(["rerun", "small/0", "seed=1"]) == 0
    said = capsys.readouterr().out
    changed = [line for line in said.splitlines() if line.startswith("changed: ")]
    assert changed == ["changed: seed: 0 -> 1"]
    assert "result: val/loss: " in said
    newest = max(Path("runs/single").iterdir(), key=lambda path: path.stat().st_mtime)
    one, other = (yaml.safe_load((path / "config.yaml").read_text()) for path in (restored, newest))
    assert other["network"]["dim"] == one["network"]["dim"] and other["seed"] == 1
    record = read_trial(RunDir(newest))
    assert record is not None and record.threads == (read_trial(RunDir(restored)) or record).threads
    assert main(["diff", "small/0", newest.name, "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == {"seed": [0, 1]} and not told["data"] and "val/loss" in told["results"]
