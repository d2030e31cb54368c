"""What a backup holds, what stays out, and that equal content is stored once."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from sweeplora.record.provenance.workspace import Backup, Rules, back_up, rules_of
from tests.record.provenance.test_git import run

MIB = 1 << 20


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder a person works in."""
    folder = tmp_path / "desk"
    for name in ("conf", "pictures", "runs/old", "models/base", ".venv", "__pycache__"):
        (folder / name).mkdir(parents=True)
    (folder / "train.sh").write_text("#!/bin/sh\n")
    (folder / "train.sh").chmod(0o755)
    (folder / "conf" / "mine.yaml").write_text("rank: 4\n")
    (folder / "pictures" / "cat.txt").write_text("a cat\n")
    (folder / "runs" / "old" / "log.txt").write_text("…\n")
    (folder / "models" / "base" / "model_index.json").write_text("{}\n")
    (folder / "lora.safetensors").write_bytes(b"weights")
    (folder / ".env").write_text("A=1\n")
    (folder / "notes.md").write_text("login with hf_" + "abcdefghijklmnopqrstuvwxyz0123456789\n")
    (folder / ".venv" / "pyvenv.cfg").touch()
    (folder / "__pycache__" / "x.pyc").touch()
    return folder


def backup_of(desk: Path, into: Path, cap_mib: float = 8) -> Backup:
    """A backup by the rules of a config that names the data and the model."""
    config = {"data": {"dir": str(desk / "pictures")}, "model": {"path": str(desk / "models" / "base"), "vae": None}}
    return back_up(desk, rules_of(config, desk / "runs", cap_mib), into)


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as content:
        return set(content.getnames())


def test_work_is_kept_and_outputs_inputs_weights_and_secrets_are_not(desk: Path, tmp_path: Path) -> None:
    backup = backup_of(desk, tmp_path / "kept")
    assert names(tmp_path / "kept" / f"{backup.name}.tar.gz") == {"train.sh", "conf/mine.yaml"}
    why = {entry["path"]: entry["why"] for entry in backup.manifest["left_out"]}
    assert why == {
        "pictures": "data or models",
        "runs": "outputs",
        "models/base": "data or models",
        "lora.safetensors": "data or models",
        ".env": "looks secret",
        "notes.md": "looks secret",
    }


def test_a_git_repository_says_itself_what_is_work(desk: Path, tmp_path: Path) -> None:
    run(desk, "init", "-q")
    (desk / ".gitignore").write_text("*.log\nruns/\n")
    (desk / "noise.log").touch()
    backup = backup_of(desk, tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert {"train.sh", "conf/mine.yaml", ".gitignore"} <= kept
    assert not kept & {"noise.log", ".env", "notes.md", "lora.safetensors", "pictures/cat.txt"}


def test_equal_content_is_stored_once_and_other_content_beside_it(desk: Path, tmp_path: Path) -> None:
    into = tmp_path / "kept"
    first = backup_of(desk, into)
    before = (into / f"{first.name}.tar.gz").stat().st_mtime_ns
    os.utime(desk / "train.sh", (1, 1))
    assert backup_of(desk, into).name == first.name
    assert (into / f"{first.name}.tar.gz").stat().st_mtime_ns == before
    (desk / "conf" / "mine.yaml").write_text("rank: 8\n")
    assert backup_of(desk, into).name != first.name
    assert len(list(into.iterdir())) == 2


def test_the_same_files_give_the_same_bytes(desk: Path, tmp_path: Path) -> None:
    name = backup_of(desk, tmp_path / "a").name
    os.utime(desk / "train.sh", (1, 1))
    assert backup_of(desk, tmp_path / "b").name == name
    archives = [(tmp_path / folder / f"{name}.tar.gz").read_bytes() for folder in "ab"]
    assert archives[0] == archives[1]


def test_an_unpacked_backup_is_the_work_again(desk: Path, tmp_path: Path) -> None:
    backup = backup_of(desk, tmp_path / "kept")
    with tarfile.open(tmp_path / "kept" / f"{backup.name}.tar.gz") as content:
        content.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again" / "conf" / "mine.yaml").read_text() == "rank: 4\n"
    assert os.access(tmp_path / "again" / "train.sh", os.X_OK)


def test_over_the_cap_the_largest_files_stay_out(desk: Path, tmp_path: Path) -> None:
    (desk / "big.csv").write_bytes(b"x" * MIB)
    (desk / "middle.csv").write_bytes(b"y" * (MIB // 2))
    backup = backup_of(desk, tmp_path / "kept", cap_mib=1)
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert "middle.csv" in kept
    assert "big.csv" not in kept
    assert any(entry["path"] == "big.csv" and "cap" in entry["why"] for entry in backup.manifest["left_out"])


def test_links_are_not_followed(desk: Path, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("mine\n")
    (desk / "link.txt").symlink_to(tmp_path / "private.txt")
    backup = backup_of(desk, tmp_path / "kept")
    assert "link.txt" not in names(tmp_path / "kept" / f"{backup.name}.tar.gz")


def test_pictures_stay_out_where_the_data_lies_in_the_folder_itself(desk: Path, tmp_path: Path) -> None:
    (desk / "cat.png").write_bytes(b"png")
    backup = back_up(desk, Rules((desk / "runs",), (desk,), MIB), tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert "cat.png" not in kept
    assert "train.sh" in kept


def test_a_home_folder_is_not_copied(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(desk))
    backup = backup_of(desk, tmp_path / "kept")
    assert backup.name == ""
    assert not (tmp_path / "kept").exists()
