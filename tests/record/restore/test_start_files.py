"""The base model with its own VAE, and the files that a training starts from, are found by their content."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeplora.__main__ import main
from sweeplora.check.identity import model_digest
from sweeplora.check.parts import built
from sweeplora.config.compose import compose
from sweeplora.content import ContentHashes, sha256
from sweeplora.experiment import Group
from sweeplora.rundir.record import Attempt, TrialRecord, write_trial
from tests.record.restore.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.chdir(made.path)
    return made


def _recorded(desk: Desk, model: dict[str, Any], contents: dict[str, str], **config: Any) -> None:
    made = desk.record(model=model, **config)
    write_trial(made, TrialRecord("complete", contents=contents, attempts=[Attempt(2e9)]))


def _restore(capsys: pytest.CaptureFixture[str], into: Path, look_in: Sequence[Path]) -> tuple[int, dict[str, Any]]:
    """The exit code, and what is told with the new paths."""
    capsys.readouterr()
    words = [word for folder in look_in for word in ("--look-in", str(folder))]
    code = main(["restore", "mine", str(into), "--json", *words])
    told = json.loads(capsys.readouterr().out)
    return code, {**told, "paths": json.loads((Path(told["run"]) / "restored.json").read_bytes())["paths"]}


def _other_vae(source: Path, target: Path) -> Path:
    """A VAE with one weight changed."""
    shutil.copytree(source / "vae", target)
    (weights,) = target.glob("*.safetensors")
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return target


def test_a_base_model_with_a_vae_of_its_own_is_found_though_both_have_moved(
    desk: Desk, tmp_path: Path, tiny_sd15: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = _other_vae(tiny_sd15, tmp_path / "vaes/safe")
    shutil.copytree(tiny_sd15, tmp_path / "models/base", copy_function=os.link)
    node = compose(["model=sd15", f"model.path={tmp_path}/models/base", f"model.vae={vae}"]).config["model"]
    digest = model_digest(built(Group(node)).facts(), ContentHashes(tmp_path / "no memo"))
    _recorded(desk, node, {"model.path": digest, "model.vae": digest})
    code, told = _restore(capsys, tmp_path / "unmoved", [])
    assert code == 0 and not told["paths"]

    attic = tmp_path / "attic"
    shutil.move(tmp_path / "models/base", attic / "deep/another name")
    code, told = _restore(capsys, tmp_path / "model moved", [attic])
    assert code == 0 and told["paths"] == {node["path"]: str(attic / "deep/another name")}

    shutil.move(vae, attic / "renamed")
    shutil.copytree(tiny_sd15 / "vae", attic / "safe")  # of the recorded name, with another content
    code, told = _restore(capsys, tmp_path / "both moved", [attic])
    assert code == 0
    assert told["paths"] == {node["path"]: str(attic / "deep/another name"), node["vae"]: str(attic / "renamed")}

    shutil.rmtree(attic / "renamed")
    code, told = _restore(capsys, tmp_path / "vae lost", [attic])
    assert code == 1 and told["missing"][0]["content"] == digest and "model.vae" in told["missing"][0]["why"]


def test_start_files_of_other_names_are_found_and_those_of_other_content_are_not_taken(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("first", "second", "network", "state")
    files = {name: tmp_path / f"start/{name}.safetensors" for name in names}
    (tmp_path / "start").mkdir()
    for name, path in files.items():
        path.write_bytes(name.encode())
    merged = [files["first"], files["second"]]
    contents = {
        "model.base_weights": ContentHashes(tmp_path / "no memo").all(merged),
        "network.weights": sha256(files["network"]),
        "train.resume": sha256(files["state"]),
    }
    model = {"base_weights": [str(path) for path in merged]}
    _recorded(desk, model, contents, network={"weights": str(files["network"])}, train={"resume": str(files["state"])})
    assert _restore(capsys, tmp_path / "unmoved", [])[0] == 0

    attic = tmp_path / "attic"
    attic.mkdir()
    for name, path in files.items():
        path.rename(attic / f"renamed {name}.safetensors")
    files["first"].write_bytes(b"another of that name")
    code, told = _restore(capsys, tmp_path / "moved", [attic])
    assert code == 0
    assert told["paths"] == {str(path): str(attic / f"renamed {name}.safetensors") for name, path in files.items()}

    shutil.rmtree(attic)
    code, told = _restore(capsys, tmp_path / "lost", [tmp_path / "start"])
    assert code == 1 and {one["path"] for one in told["missing"]} >= {str(files["second"]), str(files["state"])}
    assert {one["key"] for one in told["missing"]} == {"model.base_weights", "network.weights", "train.resume"}
