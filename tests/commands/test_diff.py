"""diff and the comparison that rerun makes: every kind of difference is named, and equality too."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.record.provenance.session import record_session
from sweeplora.report.diff import identity_diff
from sweeplora.report.repeat import compare
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import Attempt, Result, TrialRecord, write_result, write_trial
from tests.record.provenance.test_git import run
from tests.report.test_find import weights
from tests.run.trainings import ROOT as SHIPPED
from tests.run.trainings import Trainings, train_in_a_fork

CONFIG = {"seed": 0, "data": {"dir": "pics"}, "network": {"dim": 4, "conv_dim": None}, "tracking": {"uri": "a"}}


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace that the commands run in."""
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def a_run(
    name: str,
    config: Mapping[str, Any],
    *losses: float,
    sha: str = "f" * 64,
    cap_mib: float | None = 8.0,
    **pictures: str,
) -> RunDir:
    """A finished run, its images as name -> `content:caption`, started from the working directory as it is."""
    run = RunDir.create(Path("runs/single") / name, yaml.safe_dump(dict(config)))
    root = config["data"]["dir"]
    files = []
    for key, text in pictures.items():
        content, _, caption = text.partition(":")
        files.append({"path": f"{root}/{key}.png", "sha256": content, "bytes": 1, "caption": caption})
    (run.path / "dataset.json").write_text(json.dumps({"files": files}))
    writer = MetricsWriter(run.metrics)
    for step, loss in enumerate(losses):
        writer.write(step, {"loss": loss, "val/loss": loss / 2, "memory_mib": 100.0 * len(name), "epoch": 1})
    write_trial(run, TrialRecord("complete", signature="a" * 12, attempts=[Attempt(2e9)], threads=1, processes=1))
    write_result(run, Result("finished", weights_sha256=sha))
    record_session(run.path, Path("runs"), config, cap_mib)
    return run


def differences(capsys: pytest.CaptureFixture[str], *words: str, code: int = 1) -> dict[str, Any]:
    """What `diff --json` says."""
    assert main(["diff", "--json", *words]) == code
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_equal_runs_differ_in_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "other"):
        a_run(name, CONFIG, 0.5, 0.25, cat="aa:a cat")
    told = differences(capsys, "one", "other", code=0)
    assert not any(told[part] for part in ("config", "code", "data", "environment", "results"))
    assert main(["diff", "one", "other"]) == 0
    assert capsys.readouterr().out.count("no difference") == 5


def test_every_kind_of_difference_is_named(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "mine.py").write_text("a = 1\nb = 2\n")
    (desk / "old.py").write_text("old\n")
    a_run("one", CONFIG, 0.5, 0.25, cat="aa:a cat", dog="bb:a dog", cow="cc:a cow")
    (desk / "mine.py").write_text("a = 1\nb = 3\n")
    (desk / "old.py").unlink()
    (desk / "data.bin2").write_bytes(b"\0\1")
    network = {"dim": 8, "conv_dim": None, "alpha": 4}
    changed = {**CONFIG, "data": {"dir": "/elsewhere/pics"}, "network": network, "tracking": {"uri": "b"}}
    a_run("other", changed, 0.5, 0.125, cat="aa:a black cat", dog="dd:a dog", owl="ee:an owl")
    told = differences(capsys, "one", "other")
    assert told["config"] == {
        "data.dir": ["pics", "/elsewhere/pics"],
        "network.alpha": ["(not there)", 4],
        "network.dim": [4, 8],
    }
    assert told["data"]["added"] == ["pics/owl.png"] and told["data"]["removed"] == ["pics/cow.png"]
    assert told["data"]["changed"] == {
        "pics/cat.png": {"caption": ["a cat", "a black cat"]},
        "pics/dog.png": {"sha256": ["bb", "dd"]},
    }
    assert "-b = 2\n+b = 3\n" in told["code"]["files"]["mine.py"]
    assert "+++ /dev/null" in told["code"]["files"]["old.py"]
    assert told["code"]["files"]["data.bin2"] == "added: data.bin2\n"
    assert told["results"] == {"loss": [0.25, 0.125], "val/loss": [0.125, 0.0625]}
    assert main(["diff", "one", "other"]) == 1
    said = capsys.readouterr().out
    assert "  changed: pics/cat.png: caption 'a cat' -> 'a black cat'" in said and "  +b = 3" in said


def test_without_a_backup_the_code_is_compared_by_its_patches(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(desk, "init", "-q")
    (desk / "mine.py").write_text("a = 1\n")
    run(desk, "add", ".")
    run(desk, "commit", "-q", "-m", "one")
    for name, text in (("one", "a = 2\n"), ("other", "a = 3\n")):
        (desk / "mine.py").write_text(text)
        a_run(name, CONFIG, 0.5, cap_mib=None)
    code = differences(capsys, "one", "other")["code"]
    assert "-+a = 2\n++a = 3\n" in code["patches"]["workspace"] and "files" not in code
    assert main(["diff", "one", "other"]) == 1
    assert "  -+a = 2\n  ++a = 3\n" in capsys.readouterr().out


def test_numbers_that_differ_in_late_digits_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    a_run("one", CONFIG, 0.5)
    a_run("other", CONFIG, 0.50000001)
    assert main(["diff", "one", "other"]) == 1
    assert "  loss: 0.5 -> 0.50000001" in capsys.readouterr().out


def test_another_environment_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    a_run("one", CONFIG, 0.5)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("MY_TOKEN", "hidden")
    other = a_run("other", CONFIG, 0.5)
    lock = next(other.path.glob("provenance/*/requirements.txt"))
    lock.write_text(lock.read_text().replace("numpy==", "numpy==0"))
    told = differences(capsys, "one", "other")
    assert {*told["environment"]} == {"variables", "numpy"}
    assert told["environment"]["variables"][1]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "hidden" not in json.dumps(told)


def test_files_lead_to_their_runs_and_unknown_ones_are_compared_by_what_they_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run("one", CONFIG, 0.5)
    mine = weights(run.weights / "one.safetensors", b"mine", ss_network_dim="4")
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(mine.read_bytes())
    assert not differences(capsys, str(copy), "one", code=0)["config"]
    foreign = weights(tmp_path / "foreign.safetensors", b"theirs", ss_network_dim="16")
    told = differences(capsys, str(copy), str(foreign))
    assert told["config"] == {"ss_network_dim": ["4", "16"]} and "only its metadata" in told["notes"][0]


def test_a_third_run_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    a_run("one", CONFIG, 0.5)
    assert main(["diff", "one", "one", "one"]) == 2
    assert "give one or two runs" in capsys.readouterr().err


def test_a_repeat_is_identical_only_if_metrics_and_bytes_are() -> None:
    first = a_run("one", CONFIG, 0.5, 0.25, 0.125)
    assert compare(first, a_run("two", CONFIG, 0.5, 0.25, 0.125)).identical
    other_bytes = compare(first, a_run("three", CONFIG, 0.5, 0.25, 0.125, sha="e" * 64))
    assert not other_bytes.identical and other_bytes.parting is None
    parted = compare(first, a_run("four", CONFIG, 0.5, 0.25 + 1e-9, 0.5))
    assert parted.parting is not None and not parted.identical
    assert (parted.parting.step, parted.parting.key) == (1, "loss")
    assert parted.parting.size == pytest.approx(1e-9, rel=1e-3)
    assert parted.largest["loss"] == 0.375
    early = compare(first, a_run("five", CONFIG, 0.5, 0.25))
    assert early.parting is None and early.steps == 1
    assert not compare(first, a_run("six", CONFIG)).identical  # nothing was measured


def test_what_a_result_depends_on_is_compared_by_the_records() -> None:
    code = {"source": "a" * 64, "torch": "2.13.0"}
    then = TrialRecord("complete", threads=1, processes=1, contents={"data.dir": "1" * 64}, code=code)
    now = TrialRecord("complete", threads=2, processes=1, contents={"data.dir": "2" * 64}, code={**code, "torch": "3"})
    assert identity_diff(then, now) == {
        "threads": [1, 2],
        "content of data.dir": ["1" * 64, "2" * 64],
        "version of torch": ["2.13.0", "3"],
    }
    assert identity_diff(TrialRecord("complete"), TrialRecord("complete", code=code)) == {}  # an old record knows less


def test_a_run_is_compared_with_what_its_command_would_run_now(
    tmp_path: Path,
    pictures: Path,
    trainings: Trainings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    album = shutil.copytree(pictures, tmp_path / "album")
    Path("mine.py").write_text("a = 1\n")
    places = (f"data.dir={album / 'train'}", f"data.val_dir={album / 'val'}")
    words = (*places, "train.epochs=null", "train.steps=1", "sample=none", "train.probe_images=0")
    run = trainings.folder("single/compared", *words)
    train_in_a_fork(run, SHIPPED)
    record = TrialRecord("complete", overrides=(*trainings.common, "name=test", *words), attempts=[Attempt(2e9)])
    write_trial(run, record)
    record_session(run.path, trainings.runs, yaml.safe_load(run.config.read_text()), 8.0)
    asked = (f"runs={trainings.runs}", str(run.path))
    told = differences(capsys, *asked, code=0)
    assert told["second"] == "now" and not told["notes"]
    assert not any(told[part] for part in ("config", "code", "data", "environment", "results"))

    later = tmp_path / "later"  # another folder, since a process reads its configuration once
    (later / "conf/optimizer").mkdir(parents=True)
    monkeypatch.chdir(later)
    (later / "mine.py").write_text("a = 2\n")
    shipped = (SHIPPED / "conf/optimizer/adamw.yaml").read_text()
    (later / "conf/optimizer/adamw.yaml").write_text(re.sub(r"(?m)^weight_decay: \S+", "weight_decay: 0.5", shipped))
    (album / "train/p00.txt").write_text("a shape of another colour")
    (album / "train/p01.png").unlink()
    for form in ("now", None):
        told = differences(capsys, *asked, *([form] if form else []))
        assert (
            told["config"].keys() == {"optimizer.weight_decay"} and told["config"]["optimizer.weight_decay"][1] == 0.5
        )
        assert "-a = 1\n+a = 2\n" in told["code"]["files"]["mine.py"]
        (name,) = (name for name in told["data"]["changed"] if name.endswith("p00.png"))
        assert told["data"]["changed"][name]["caption"][1] == "a shape of another colour"
        assert [name.rpartition("/")[2] for name in told["data"]["removed"]] == ["p01.png"]
    assert main(["diff", *asked]) == 1
    assert "optimizer.weight_decay: " in capsys.readouterr().out
