"""What a backup holds, what stays out, and that equal content is stored once."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
import socket
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sweeplora.content import read_memo, write_memo
from sweeplora.record.provenance import workspace
from sweeplora.record.provenance.exclusions import Rules, rules_of
from sweeplora.record.provenance.secret import search_version
from sweeplora.record.provenance.workspace import Backup, back_up
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


def test_sources_that_git_ignores_are_work_and_what_else_it_ignores_is_not(desk: Path, tmp_path: Path) -> None:
    (desk / ".gitignore").write_text("conf/\nlocal_*\nparts/\nscratch/\n*.log\nruns/\n")
    for name in ("local_noise.py", "parts/losses.py", "scratch/old.py", "conf/notes.log", "local_notes.md"):
        (desk / name).parent.mkdir(exist_ok=True)
        (desk / name).write_text("x = 1\n")
    run(desk, "init", "-q")
    config = {"noise": {"_target_": "local_noise.Noise"}, "loss": {"_target_": "parts.losses.Loss"}}
    backup = back_up(desk, rules_of(config, desk / "runs", 8), tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert {"conf/mine.yaml", "local_noise.py", "parts/losses.py"} <= kept
    assert not {"scratch/old.py", "conf/notes.log", "local_notes.md"} & kept


def test_files_where_a_submodule_is_not_checked_out_are_work(desk: Path, tmp_path: Path) -> None:
    run(desk, "init", "-q")
    (desk / "ext/sub").mkdir(parents=True)
    (desk / "ext/sub/lib.py").write_text("x = 1\n")
    run(desk, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},ext/sub")
    backup = backup_of(desk, tmp_path / "kept")
    assert "ext/sub/lib.py" in names(tmp_path / "kept" / f"{backup.name}.tar.gz")


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


def test_what_was_searched_for_secrets_is_not_searched_again_until_it_changes(desk: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    rules = rules_of({}, desk / "runs", 8)
    secret = b"pass" + b"word = 'hunter2hunter2'\n"
    for name in ("mine.py", "mine.txt"):
        (desk / name).write_bytes(secret)

    def kept() -> set[str]:
        return {file["path"] for file in back_up(desk, rules, tmp_path / "backups", memo).manifest["files"]}

    assert {"train.sh", "conf/mine.yaml"} <= kept() and not {"mine.py", "mine.txt"} & kept()
    known = read_memo(memo, search_version())
    assert f"{hashlib.sha256(b'rank: 4' + bytes([10])).hexdigest()} .yaml" in known
    marked = {**known, f"{hashlib.sha256(secret).hexdigest()} .py": ""}
    write_memo(memo, search_version(), marked)
    assert "mine.py" in kept() and "mine.txt" not in kept()  # as code it is believed to be known
    write_memo(memo, search_version() + 1, marked)
    assert "mine.py" not in kept()  # another version of the search may find more


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


CAT = b"\x89PNG\r\n"


def fill(folder: Path, *names: str) -> None:
    """Images with captions beside them."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).with_suffix(".png").write_bytes(CAT)
        (folder / name).with_suffix(".txt").write_text("a private caption\n")


def kept_under(config: dict[str, Any], desk: Path, tmp_path: Path) -> set[str]:
    """Names in the backup of a folder by a config whose paths are relative to it."""
    backup = back_up(desk, rules_of(config, Path("runs"), 8), tmp_path / "kept")
    return names(tmp_path / "kept" / f"{backup.name}.tar.gz")


@pytest.mark.parametrize("with_git", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        {"dir": "pics"},
        {"dir": "./pics"},
        {"dir": "pics/"},
        {"dir": "conf/../pics"},
        {"dir": "../desk/pics"},
        {"dir": None, "subsets": [{"dir": "pics"}]},
        {"dir": "elsewhere", "subsets": [{"dir": "a"}, {"dir": "b", "mask_dir": "pics"}]},
        {"dir": "elsewhere", "val_dir": "pics"},
        {"dir": "elsewhere", "reg_dir": "pics"},
        {"dir": "elsewhere", "mask_dir": "pics"},
        {"dir": "linked"},
        {"dir": "links"},
        {"dir": "~/desk/pics"},
    ],
)
def test_data_stays_out_however_it_is_named(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], with_git: bool
) -> None:
    monkeypatch.chdir(desk)
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(desk / "pics", "cat", "3_dog/dog")
    (desk / "pics" / "alone.txt").write_text("a private caption without its image\n")
    (desk / "linked").symlink_to("pics")
    (desk / "links").mkdir()
    for name in ("alone", "cat"):
        (desk / "links" / f"{name}.txt").symlink_to(f"../pics/{name}.txt")
    if with_git:
        run(desk, "init", "-q")
        run(desk, "add", "pics", "train.sh")
    kept = kept_under({"data": data}, desk, tmp_path)
    assert {name for name in kept if name.startswith(("pics/", "link"))} == set()
    assert {"train.sh", "conf/mine.yaml"} <= kept


def test_images_and_their_captions_stay_out_of_whatever_folder(desk: Path, tmp_path: Path) -> None:
    fill(desk / "another set", "cat", "deep/dog")
    (desk / "another set" / "bird.JPG").write_bytes(CAT)
    (desk / "another set" / "bird.caption").write_text("a private caption\n")
    (desk / "another set" / "notes.md").write_text("work\n")
    (desk / "another set" / "image-without-suffix").write_bytes(b"\xff\xd8\xff\xe0" + bytes(20))
    (desk / "set.zip").write_bytes(b"PK\x03\x04")
    backup = backup_of(desk, tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert {name for name in kept if "set" in name} == {"another set/notes.md"}


def test_where_the_workspace_is_the_data_folder_its_captions_stay_out_too(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    fill(desk, "cat")
    (desk / "image-is-gone.txt").write_text("a private caption\n")
    kept = kept_under({"data": {"dir": "."}}, desk, tmp_path)
    assert {"train.sh", "conf/mine.yaml"} <= kept
    assert not kept & {"cat.png", "cat.txt", "image-is-gone.txt"}


def test_captions_of_another_suffix_stay_out(desk: Path, tmp_path: Path) -> None:
    fill(desk / "more", "cat")
    (desk / "more" / "cat.words").write_text("a private caption\n")
    rules = rules_of({"data": {"dir": None, "caption_extension": ".words"}}, desk / "runs", 8)
    backup = back_up(desk, rules, tmp_path / "kept")
    assert not {name for name in names(tmp_path / "kept" / f"{backup.name}.tar.gz") if name.startswith("more")}


def test_models_and_weights_stay_out_whatever_they_are_called(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    header = b'{"a":{}}'
    (desk / "hidden.weights").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    for name in ("base.model", "first.lora", "second.lora", "start", "vae.part", "swept.lora"):
        (desk / name).write_text("not by its content\n")
    config = {
        "model": {"path": "base.model", "vae": "vae.part", "base_weights": ["first.lora", "second.lora"]},
        "network": {"weights": "start", "preset": "conf"},
        "sweep": {"space": {"network.weights": "choice(start, swept.lora)"}},
    }
    kept = kept_under(config, desk, tmp_path)
    assert not {name for name in kept if name.endswith((".model", ".lora", ".part", ".weights", "start"))}
    assert "conf/mine.yaml" in kept


def test_outputs_stay_out_where_they_lie_in_the_workspace_itself(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(desk)
    for name in ("study/study.json", "study/000-a/log.txt", "single/x/log.txt", "mlflow.db", "events/e.sweeplora"):
        (desk / name).parent.mkdir(parents=True, exist_ok=True)
        (desk / name).write_text("{}")
    tracking = {"uri": "sqlite:///./mlflow.db", "artifacts": "./artifacts", "tensorboard": "events"}
    backup = back_up(desk, rules_of({"tracking": tracking}, Path("."), 8), tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert not {name for name in kept if name.startswith(("study", "single", "mlflow", "events"))}
    assert "train.sh" in kept


def test_a_folder_inside_a_checkout_is_a_workspace(desk: Path, tmp_path: Path) -> None:
    run(desk, "init", "-q")
    (desk / ".gitignore").write_text("*.log\n")
    (desk / "conf" / "noise.log").touch()
    backup = back_up(desk / "conf", Rules((desk / "runs",), (), MIB), tmp_path / "kept")
    assert names(tmp_path / "kept" / f"{backup.name}.tar.gz") == {"mine.yaml"}


def test_the_work_inside_a_submodule_or_another_checkout_is_work(desk: Path, tmp_path: Path) -> None:
    run(desk, "init", "-q")
    inside = desk / "ext" / "inside"
    inside.mkdir(parents=True)
    run(inside, "init", "-q")
    (inside / "patched.py").write_text("x = 1\n")
    (inside / ".env").write_text("X=1\n")
    backup = backup_of(desk, tmp_path / "kept")
    assert "ext/inside/patched.py" in names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert {"path": "ext/inside/.env", "why": "looks secret"} in backup.manifest["left_out"]


def test_where_git_refuses_the_folder_is_walked_and_the_reason_is_kept(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(desk, "init", "-q")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    backup = backup_of(desk, tmp_path / "kept")
    assert names(tmp_path / "kept" / f"{backup.name}.tar.gz") == {"train.sh", "conf/mine.yaml"}
    why = {entry["path"]: entry["why"] for entry in backup.manifest["left_out"]}
    assert "dubious ownership" in why["."]


@pytest.mark.parametrize("with_git", [False, True])
def test_what_real_folders_hold_does_not_end_a_backup(desk: Path, tmp_path: Path, with_git: bool) -> None:
    if with_git:
        run(desk, "init", "-q")
    odd = os.fsdecode(b"caf\xe9.py")
    (desk / odd).write_text("latin-1 in its name\n")
    (desk / "new\nline.py").write_text("x\n")
    (desk / "loop").symlink_to("loop")
    (desk / "around").symlink_to(desk)
    os.mkfifo(desk / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(desk)  # a socket's path must be short
        listener.bind("socket")
        os.chdir(here)
    backup = backup_of(desk, tmp_path / "kept")
    kept = names(tmp_path / "kept" / f"{backup.name}.tar.gz")
    assert {odd, "new\nline.py", "train.sh"} <= kept
    assert not kept & {"loop", "around", "pipe", "socket"}
    assert odd in json.loads(json.dumps(backup.manifest))["files"][0]["path"] or with_git
    with tarfile.open(tmp_path / "kept" / f"{backup.name}.tar.gz") as content:
        content.extractall(tmp_path / "again", filter="data")
    assert (tmp_path / "again" / odd).read_text() == "latin-1 in its name\n"


def test_what_cannot_be_read_or_changes_meanwhile_stays_out(desk: Path) -> None:
    sizes = {"gone.py": 3, "train.sh": 2, "conf": 1}
    left_out: dict[str, str] = {}
    kept = dict(workspace._read(desk, sizes, left_out, ()))
    assert kept["train.sh"].content == b"#!"  # it has grown since it was listed
    assert set(left_out) == {"gone.py", "conf"}
    assert "No such file" in left_out["gone.py"]


def test_a_user_without_a_home_has_backups(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", dict[int, str]().__getitem__)
    with pytest.raises(RuntimeError):
        Path.home()
    assert backup_of(desk, tmp_path / "kept").name


def test_a_home_folder_is_not_copied(desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(desk))
    backup = backup_of(desk, tmp_path / "kept")
    assert backup.name == ""
    assert not (tmp_path / "kept").exists()
