"""`which` on what a real study left, when names, databases and metadata are gone."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from sweeplora.__main__ import main
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from sweeplora.rundir.record import read_trial
from sweeplora.tensors.safetensors_header import split, with_metadata
from tests.launchers import name_them


def said(capsys: pytest.CaptureFixture[str], *files: Path, code: int = 0) -> list[dict[str, Any]]:
    """What `which --json` says of files."""
    capsys.readouterr()
    assert main(["which", "--json", *map(str, files)]) == code
    told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return told


def without_metadata(file: Path, target: Path) -> Path:
    """A copy as tools write it that keep the tensors alone."""
    header, start = split(file.read_bytes())
    header.pop("__metadata__")
    target.write_bytes(with_metadata(header, {}) + file.read_bytes()[start:])
    return target


@pytest.fixture
def words(small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A quick study, run from a folder with nothing but the tests' launchers."""
    name_them(tmp_path)
    monkeypatch.chdir(tmp_path)
    little = ["train.batch_size=4", "train.validation_images=1", "train.validation_timesteps=1"]
    return [*small, *little, "sweep.name=s", "search=grid", "launcher=forked"]


@pytest.mark.parametrize(
    ("dims", "epochs", "tracking"),
    [("2,4,8", 2, "none"), pytest.param("1,2,3,4,5,6,7,8", 12, "mlflow", marks=pytest.mark.slow)],
)
def test_every_file_of_a_study_is_found_by_content_tensors_signature_or_metadata(
    dims: str, epochs: int, tracking: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, f"train.epochs={epochs}", f"network.dim=choice({dims})", f"tracking={tracking}"]) == 0
    for database in Path("runs").glob("*.db*"):
        database.unlink()

    files: dict[Path, tuple[RunDir, int]] = {}
    Path("downloads").mkdir()
    for folder in sorted(Path("runs/s").glob("[0-9]*-*")):
        for number, file in enumerate(sorted((folder / "weights").iterdir()), start=1):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            files[Path(shutil.copy(file, f"downloads/{digest}.safetensors"))] = RunDir(folder), number
    trials = len(dims.split(","))
    assert len(files) == trials * epochs  # 96 in the long form, as the shipped sweep leaves

    for told, (run, epoch) in zip(said(capsys, *files), files.values(), strict=True):
        record = read_trial(run)
        assert record is not None
        assert (told["found_by"], told["study"], told["trial"]) == ("content", "s", record.number)
        assert told["signature"] == record.signature and told["swept"] == {"network.dim": record.params["network.dim"]}
        assert told["epoch"] == f"{epoch} of {epochs}" and "val/loss" in told and told["base_model"].startswith("emoji")
        assert any(line.startswith("network.dim=") for line in told["differs"])

    some = list(files)[:: max(1, len(files) // 6)]
    bare = [without_metadata(file, file.with_suffix(".bare")) for file in some]
    for told, file in zip(said(capsys, *bare), some, strict=True):
        run, epoch = files[file]
        assert (told["found_by"], f"s/{told['trial']:03}") == ("tensors", f"s/{run.path.name[:3]}")
        losses = read_metrics(run.metrics)["val/loss"]
        assert told["epoch"] == f"{epoch} of {epochs}" and told["val/loss"] == losses[int(told["step"].split()[0])]
        assert max(losses) * epoch == int(told["step"].split()[0]) * epochs
    for file in some:
        (files[file][0].weights / Path(said(capsys, file)[0]["same_as"]).name).unlink()
    for told, file in zip(said(capsys, *some), some, strict=True):
        by = "content" if files[file][1] == epochs else "signature"  # the run's result keeps the hash of its last file
        assert (told["found_by"], told["signature"]) == (by, files[file][0].path.name[4:])

    shutil.rmtree("runs")
    for told, file in zip(said(capsys, *some, code=1), some, strict=True):
        assert told["found_by"] == "metadata" and told["written_by"] == "sweeplora"
        assert told["signature"] == files[file][0].path.name[4:] and told["epoch"] == f"{files[file][1]} of {epochs}"
