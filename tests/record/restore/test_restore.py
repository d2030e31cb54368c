"""A workspace comes back as it was, whatever is gone or configured."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.commands.recorded_data import compare
from sweeplora.content import sha256
from sweeplora.errors import UserError
from sweeplora.record.mirror import Mirror
from sweeplora.record.provenance import git
from sweeplora.record.restore.overlay import overlay
from sweeplora.record.restore.restore import RESTORED, Helpers, restore
from sweeplora.record.restore.search import ContentSearch
from sweeplora.record.restore.stored import StoredRecord
from sweeplora.rundir.files import read_json, read_sealed, sealed, write_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.record import Attempt, TrialRecord, write_trial
from tests.record.provenance.test_git import run
from tests.record.restore.desk import Desk, bring_back, listing
from tests.record.study_folder import StudyFolder, tracking_of


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.chdir(made.path)
    return made


def test_a_pushed_commit_is_cloned_and_every_change_is_on_top(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.push()
    commit, inside = run(desk.path, "rev-parse", "HEAD"), run(desk.sub, "rev-parse", "HEAD")
    desk.soil()
    before = desk.contents()
    made = desk.carry_off(desk.record())
    monkeypatch.chdir(tmp_path)
    restored = bring_back(made, tmp_path / "again")
    assert desk.contents(tmp_path / "again") == before
    assert run(tmp_path / "again", "rev-parse", "HEAD") == commit
    assert run(tmp_path / "again", "branch", "--show-current") == "work"
    assert run(tmp_path / "again/ext/sub", "rev-parse", "HEAD") == inside
    assert [one.source for one in restored.checkouts] == [str(desk.remote), str(desk.sub)]
    assert not restored.missing and not restored.environment
    again = RunDir(tmp_path / "again/runs/single/mine")
    assert restored.folder == again.path
    assert again.config.read_text() == made.config.read_text()


@pytest.mark.parametrize("case", ["remote gone", "never pushed", "submodule gone"])
def test_what_is_not_reachable_comes_from_the_backup(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    desk.push()
    if case == "never pushed":
        (desk.path / "late.py").write_text("late = 1\n")
        run(desk.path, "add", ".")
        run(desk.path, "commit", "-q", "-m", "kept to oneself")
    desk.soil()
    before = desk.contents()
    made = desk.carry_off(desk.record())
    monkeypatch.chdir(tmp_path)
    if case != "never pushed":
        shutil.rmtree(desk.sub if case == "submodule gone" else desk.remote)
    restored = bring_back(made, tmp_path / "again")
    assert desk.contents(tmp_path / "again") == before
    assert not restored.missing
    lost = [one for one in restored.checkouts if one.source is None]
    assert [one.recorded.label for one in lost] == ["workspace-ext-sub" if case == "submodule gone" else "workspace"]
    assert "is not reachable" in lost[0].notes[0]


def test_a_commit_that_only_the_old_workspace_has_is_cloned_from_there(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.soil()
    before = desk.contents()
    made = desk.record()
    restored = bring_back(made, tmp_path / "again")
    assert restored.checkouts[0].source == str(desk.path)
    assert desk.contents(tmp_path / "again") == before


def test_a_remote_that_moved_on_still_gives_the_commit(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.push()
    commit = run(desk.path, "rev-parse", "HEAD")
    desk.soil()
    before = desk.contents()
    made = desk.record()
    other = tmp_path / "other"
    run(tmp_path, "clone", "-q", str(desk.remote), str(other))
    run(other, "checkout", "-q", "--orphan", "main")
    (other / "a.txt").write_text("another history\n")
    run(other, "add", "a.txt")
    run(other, "commit", "-q", "-m", "anew")
    run(other, "push", "-q", "origin", "main")
    run(desk.remote, "symbolic-ref", "HEAD", "refs/heads/main")
    run(desk.remote, "update-ref", "-d", "refs/heads/work")
    made = desk.carry_off(made)
    monkeypatch.chdir(tmp_path)
    restored = bring_back(made, tmp_path / "again")
    assert restored.checkouts[0].source == str(desk.remote), restored.checkouts[0].notes
    assert run(tmp_path / "again", "rev-parse", "HEAD") == commit
    assert desk.contents(tmp_path / "again") == before


def test_no_git_configuration_changes_what_comes_back(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.push()
    settings = tmp_path / "gitconfig"
    settings.write_text(
        "[diff]\n external = /bin/true\n noprefix = true\n mnemonicPrefix = true\n renames = copies\n"
        " wsErrorHighlight = all\n submodule = log\n context = 0\n algorithm = patience\n"
        f"[core]\n autocrlf = true\n pager = cat\n quotePath = true\n attributesFile = {tmp_path}/attributes\n"
        '[filter "upper"]\n clean = tr a-z A-Z\n smudge = tr a-z A-Z\n'
        "[color]\n ui = always\n diff = always\n"
        '[diff "upper"]\n textconv = tr a-z A-Z <\n'
        "[apply]\n whitespace = fix\n ignoreWhitespace = change\n"
        "[status]\n showUntrackedFiles = no\n short = true\n"
        "[clone]\n defaultRemoteName = upstream\n"
        f"[init]\n templateDir = {_hooks(tmp_path)}\n"
        '[user]\n name = a\n email = a@b\n[protocol "file"]\n allow = always\n'
    )
    (tmp_path / "attributes").write_text("*.txt text eol=crlf\n*.py filter=upper\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    (desk.path / ".git/info").mkdir(exist_ok=True)
    (desk.path / ".git/info/attributes").write_text("*.txt diff=upper\n*.py diff=upper\n")
    desk.soil()
    before = desk.contents()
    made = desk.carry_off(desk.record())
    monkeypatch.chdir(tmp_path)
    restored = bring_back(made, tmp_path / "again")
    assert restored.checkouts[0].source is not None
    assert desk.contents(tmp_path / "again") == before


def _hooks(parent: Path) -> Path:
    """A template whose hook spoils every checkout."""
    hook = parent / "template/hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text("#!/bin/sh\necho spoilt > a.txt\n")
    hook.chmod(0o755)
    return parent / "template"


def test_the_list_of_files_says_what_was_removed_where_the_patch_does_not_apply(desk: Desk, tmp_path: Path) -> None:
    desk.push()
    desk.soil()
    before = desk.contents()
    made = desk.record()
    patch = next(made.path.glob("provenance/*/workspace.patch"))
    patch.write_bytes(patch.read_bytes().replace(b"\n-x = 1\n", b"\n-x = 2\n"))
    restored = bring_back(made, tmp_path / "again")
    assert "its patch applies in part" in restored.checkouts[0].notes[0]
    assert desk.contents(tmp_path / "again") == before


def test_the_restored_checkout_has_the_recorded_patch_again(desk: Desk, tmp_path: Path) -> None:
    desk.push()
    desk.soil()
    (desk.path / "with space [1].py").write_text("z = 1\n")
    run(desk.path, "add", "with space [1].py")
    made = desk.record()
    recorded = next(made.path.glob("provenance/*/workspace.patch")).read_bytes()
    bring_back(made, tmp_path / "again")
    assert b"staged.py" in recorded and b"with space [1].py" in recorded
    assert git.state(tmp_path / "again")[1] == recorded


def test_submodules_whose_names_differ_in_signs_alone_keep_their_own_changes(desk: Desk, tmp_path: Path) -> None:
    places = ["ext-sub", "ext#sub", f"{'long' * 40}/{'name' * 40}"]
    for number, place in enumerate(places):
        words = ("submodule", "--quiet", "add", "--name", f"n{number}", str(desk.sub), place)
        run(desk.path, "-c", "protocol.file.allow=always", *words)
    run(desk.path, "commit", "-q", "-m", "more of them")
    desk.push()
    for place in ("ext/sub", *places):
        (desk.path / place / "lib.py").write_text(f"VALUE = {place!r}\n")
    before = desk.contents()
    made = desk.carry_off(desk.record(cap_mib=1e-6))  # the patches alone
    restored = bring_back(made, tmp_path / "again")
    assert all(one.source for one in restored.checkouts)
    assert desk.contents(tmp_path / "again") == before


def test_a_run_folder_that_was_taken_away_alone_has_its_session(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.push()
    (desk.path / "a.txt").write_bytes(b"changed\n")
    before = desk.contents()
    made, other = desk.record(), tmp_path / "on a disk"
    shutil.copytree(made.path, other / "mine")
    restored = bring_back(RunDir(other / "mine"), tmp_path / "again")
    assert restored.folder == tmp_path / "again/runs/single/mine"
    assert desk.contents(tmp_path / "again") == before
    assert "is gone; what there is comes from the checkout" in restored.notes[0]
    assert main(["diff", str(other / "mine"), str(made.path), f"runs={desk.path}/runs"]) == 0
    capsys.readouterr()


def test_the_code_that_trained_is_named_where_another_is_here(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = desk.record()
    assert bring_back(made, tmp_path / "at once").environment == ()
    facts = next(made.path.glob("provenance/*/session.json"))
    content = read_sealed(facts) or {}
    others = [one for one in content["repositories"] if one["label"] != "sweeplora"]
    other = {"label": "sweeplora", "root": "/elsewhere", "commit": "1" * 40}
    write_json(facts, sealed({**content, "repositories": [*others, other]}))
    facts.with_name("sweeplora.patch").write_bytes(b"diff --git a/x b/x\n")
    (line,) = bring_back(made, tmp_path / "later").environment
    assert line.startswith("sweeplora's code: the run had commit 111111111111 with uncommitted changes, sweeplora.p")
    monkeypatch.setenv("PATH", str(tmp_path))
    (line,) = bring_back(made, tmp_path / "without git").environment
    assert line.endswith("; here git does not say") or line.endswith("; here it is no checkout")


def test_the_command_that_trains_again_can_be_typed_as_it_is_printed(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = desk.record(runs="out put")
    shutil.move(made.path, made.path.with_name("my run"))
    assert main(["restore", str(desk.path / "runs/single/my run"), str(tmp_path / "once more")]) == 0
    line = next(one for one in capsys.readouterr().out.splitlines() if one.startswith("train it again there: "))
    words = shlex.split(line.removeprefix("train it again there: "))
    assert words[:2] == ["cd", str(tmp_path / "once more")]
    assert words[2:] == ["&&", "python", "-m", "sweeplora", "rerun", "single/my run", "runs=out put"]
    assert (tmp_path / "once more/out put/single/my run/config.yaml").is_file()


def test_a_patch_alone_brings_back_what_the_backup_has_no_room_for(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.push()
    desk.soil()
    before = desk.contents()
    made = desk.carry_off(desk.record(cap_mib=1e-6))
    monkeypatch.chdir(tmp_path)
    restored = bring_back(made, tmp_path / "again")
    after = desk.contents(tmp_path / "again")
    untracked = {"untracked/own.py"}
    assert {**before, **after} == before and before.keys() - after.keys() == untracked
    assert [one["path"] for one in restored.missing] == [*untracked]


def test_a_file_over_the_cap_is_named_by_its_hash_and_found_by_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = bytes(range(256)) * 400
    (desk.path / "table.csv").write_bytes(large)
    made = desk.carry_off(desk.record(cap_mib=0.05))
    monkeypatch.chdir(tmp_path)
    digest = hashlib.sha256(large).hexdigest()
    missing = bring_back(made, tmp_path / "without").missing
    assert [(one["path"], one["sha256"], one["size"]) for one in missing] == [("table.csv", digest, len(large))]
    (tmp_path / "attic").mkdir()
    (tmp_path / "attic/renamed.bin").write_bytes(large)
    (tmp_path / "attic/other.bin").write_bytes(large[::-1])
    restored = bring_back(made, tmp_path / "with", tmp_path / "attic")
    assert not restored.missing
    assert (tmp_path / "with/table.csv").read_bytes() == large


def test_images_are_found_by_their_hash_and_captions_come_from_the_record(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"cats/3_a/one.png": b"\x89PNG one", "cats/3_a/two.png": b"\x89PNG two"}
    entries = []
    for name, content in pictures.items():
        (desk.path / name).parent.mkdir(parents=True, exist_ok=True)
        (desk.path / name).write_bytes(content)
        (desk.path / name).with_suffix(".txt").write_text(f"caption of {name}")
        digest = hashlib.sha256(content).hexdigest()
        entry = {"path": name, "sha256": digest, "bytes": len(content), "caption": f"caption of {name}", "width": 8}
        entries.append({**entry, "height": 8, "split": "train", "mask": None})
    made = desk.record(data={"dir": "cats"}, sample={"prompts": None})
    (made.path / "dataset.json").write_text(listing(*entries))
    made = desk.carry_off(made)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attic").mkdir()
    (tmp_path / "attic/0001").write_bytes(pictures["cats/3_a/one.png"])
    restored = bring_back(made, tmp_path / "again", tmp_path / "attic")
    assert (tmp_path / "again/cats/3_a/one.png").read_bytes() == pictures["cats/3_a/one.png"]
    assert (tmp_path / "again/cats/3_a/two.txt").read_text() == "caption of cats/3_a/two.png"
    assert [(one["path"], one["sha256"]) for one in restored.missing] == [
        (str(desk.path / "cats/3_a/two.png"), entries[1]["sha256"])
    ]


def test_the_base_model_is_named_by_its_content_and_found_by_it(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(b"the base").hexdigest()
    model = str(tmp_path / "models/base.safetensors")
    made = desk.record(model={"path": model}, sample={"prompts": None})
    write_trial(made, TrialRecord("complete", contents={"model.path": digest}, attempts=[Attempt(2e9)]))
    made = desk.carry_off(made)
    monkeypatch.chdir(tmp_path)
    helpers = Helpers(tmp_path, lambda placed, path, vae: sha256(path) if path.is_file() else None, compare)
    (missing,) = restore(made, tmp_path / "without", [], helpers).missing
    assert (missing["path"], missing["key"], missing["content"]) == (model, "model.path", digest)
    (tmp_path / "attic/deep").mkdir(parents=True)
    (tmp_path / "attic/base.safetensors").write_bytes(b"another of that name")
    (tmp_path / "attic/deep/renamed.safetensors").write_bytes(b"the base")
    restored = restore(made, tmp_path / "with", [tmp_path / "attic"], helpers)
    assert not restored.missing
    paths = (read_json(restored.folder / RESTORED) or {})["paths"]
    assert paths == {model: str(tmp_path / "attic/deep/renamed.safetensors")}


def test_data_and_prompts_from_outside_of_the_workspace_have_a_new_place(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "album").mkdir()
    (tmp_path / "album/one.png").write_bytes(b"\x89PNG one")
    (tmp_path / "album/one.txt").write_text("a cat")
    (tmp_path / "mine.txt").write_text("a cat --d 5\n")
    digest = hashlib.sha256(b"\x89PNG one").hexdigest()
    entry = {"path": str(tmp_path / "album/one.png"), "sha256": digest, "bytes": 8, "caption": "a cat", "mask": None}
    made = desk.record(data={"dir": str(tmp_path / "album")}, sample={"prompts": str(tmp_path / "mine.txt")})
    (made.path / "dataset.json").write_text(listing(entry))
    made = desk.carry_off(made)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").unlink()
    in_place = bring_back(made, tmp_path / "first")
    paths = (read_json(in_place.folder / RESTORED) or {})["paths"]
    assert str(tmp_path / "album") not in paths  # it is still there, unchanged
    assert Path(paths[str(tmp_path / "mine.txt")]).read_text() == "a cat --d 5\n"
    shutil.move(tmp_path / "album", tmp_path / "moved")
    restored = bring_back(made, tmp_path / "second", tmp_path / "moved")
    paths = (read_json(restored.folder / RESTORED) or {})["paths"]
    found = Path(paths[str(tmp_path / "album")])
    assert found.is_relative_to(tmp_path / "second") and not restored.missing
    assert (found / "one.png").read_bytes() == b"\x89PNG one"
    assert (found / "one.txt").read_text() == "a cat"


def test_nothing_is_written_into_a_folder_that_holds_something(desk: Desk, tmp_path: Path) -> None:
    made = desk.record()
    (tmp_path / "again").mkdir()
    (tmp_path / "again/mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        bring_back(made, tmp_path / "again")
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["mine.txt"]


def test_the_tracking_server_alone_is_enough(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path
) -> None:
    desk.push()
    desk.soil()
    before = desk.contents()
    made = desk.record(name="mine", tracking={})
    config = made.config.read_text()
    made.metrics.write_text(json.dumps({"step": 1, "time": 2e9, "values": {"loss": 1 / 3, "val/loss": 0.1}}) + "\n")
    storage = tmp_path / "storage"
    storage.mkdir()
    shutil.copy(empty_database, storage / "mlflow.db")
    tracking = tracking_of(storage)
    Mirror(made.path, tracking).turn()
    shutil.rmtree(desk.path)
    monkeypatch.chdir(tmp_path)
    record = StoredRecord(tracking)
    for name in ("single/mine", "mine", "a" * 12):
        found = record.find(name)
        assert found.data.tags["sweeplora.folder"] == "single/mine"
    with pytest.raises(UserError, match="it has: single/mine"):
        record.find("other/3")
    fetched = record.download(found, tmp_path / "fetched")
    restored = bring_back(RunDir(fetched), tmp_path / "again")
    assert desk.contents(tmp_path / "again") == before
    again = RunDir(restored.folder)
    assert json.loads(again.metrics.read_text())["values"] == {"loss": 1 / 3, "val/loss": 0.1}
    assert again.config.read_text() == config
    assert {path.name for path in (again.path / "provenance").glob("*/*")} >= {"requirements.txt", "workspace.patch"}


def test_a_repetition_is_found_in_the_store_by_its_number(runs: Path) -> None:
    study = StudyFolder(runs, "ranks")
    study.trial(2, 4).complete(0.3)
    record = TrialRecord("complete", study.path.name, 2, "b" * 12, value=0.2, replicate=1, attempts=[Attempt(2e9)])
    write_trial(RunDir.create(study.path / f"002.1-{'b' * 12}", yaml.safe_dump({"seed": 1})), record)
    Mirror(study.path, study.tracking).turn()
    store = StoredRecord(study.tracking)
    for word, number in (("2.1", "002.1"), ("002.1", "002.1"), ("2", "002")):
        found = store.find(f"ranks/{word}")
        assert found.data.tags["sweeplora.folder"].startswith(f"ranks/{number}-")
    with pytest.raises(UserError, match="no such run"):
        store.find("ranks/2.2")


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "sub/../../out.txt"])
def test_a_record_writes_nothing_outside_of_the_restored_folder(tmp_path: Path, path: str) -> None:
    workspace = tmp_path / "inside"
    workspace.mkdir()
    manifest = {
        "files": [{"path": path, "size": 1, "sha256": "a" * 64}],
        "left_out": [{"path": path, "why": "a link", "link": "anywhere"}],
    }
    found = overlay(manifest, None, workspace, ContentSearch([]))
    assert not found.written and not found.missing
    assert [each.name for each in tmp_path.rglob("*")] == ["inside"]
