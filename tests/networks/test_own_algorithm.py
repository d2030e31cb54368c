"""An algorithm of a user's own, from a YAML file and a class beside the command, in real trainings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from sweeplora.__main__ import main
from sweeplora.config.catalog import folders, groups
from sweeplora.config.compose import compose
from sweeplora.networks.algorithms import algorithm_of
from sweeplora.networks.file.kinds import file_kinds, shipped_kinds
from sweeplora.rundir.files import read_json
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import read_metrics
from tests.launchers import name_them
from tests.run.trainings import train_in_a_fork

COMMON = ("tracking=none", "sample=none")
ROOT = Path(__file__).resolve().parents[2]
FILES = dict(
    re.findall(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", (ROOT / "docs" / "own-networks.md").read_text(), re.DOTALL)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder with the files of the page about networks."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def train_here(folder: Path, *words: str) -> None:
    """The same training without the command, which must be in `folder`."""
    composed = compose([*COMMON, *words])
    runs = folder / composed.config["runs"]
    train_in_a_fork(RunDir.create(runs / "single" / "here", composed.yaml), folder)


def result(runs: Path) -> tuple[dict[str, dict[int, float]], Path]:
    """The metrics and the last weights of the one run below a `runs` folder."""
    (run,) = (runs / "single").iterdir()
    record = read_json(run / "result.json")
    assert record is not None and record["status"] == "finished"
    return read_metrics(run / "metrics.jsonl"), run / record["weights"]


def test_every_shipped_algorithm_and_kind_of_file_names_classes_that_exist() -> None:
    from hydra.utils import get_object

    from sweeplora.networks.adapters.adapter import Adapter

    targets = {kind.adapter for kind in shipped_kinds()}
    assert len(targets) >= 9
    assert all(issubclass(get_object(target), Adapter) for target in targets)
    for file in sorted((ROOT / "conf" / "network").glob("*.yaml")):
        for target in re.findall(r"^_target_: (\S+)", file.read_text(), re.MULTILINE):
            algorithm = algorithm_of(target)
            assert issubclass(get_object(algorithm.ADAPTER), Adapter)
            assert algorithm.FILE in shipped_kinds()
            assert (get_object(algorithm.ADAPTER).plus != ()) == algorithm.HAS_B
            mergeable = "file_update" in vars(get_object(algorithm.FILE.adapter))
            assert mergeable == algorithm.FILE.mergeable


def test_a_users_algorithm_trains_saves_starts_from_its_file_and_is_merged(
    folder: Path, small: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name_them(folder)
    monkeypatch.chdir(folder)
    words = [*COMMON, *small, "network=outer", "network.gain=2.0", "train.steps=4", "runs=first"]
    assert main([*words, "launcher=forked"]) == 0, capsys.readouterr()
    series, weights = result(folder / "first")
    assert series["val/loss"][4] != series["val/loss"][0]
    assert {name.rpartition(".")[2] for name in load_file(weights)} == {"outer_a", "outer_b"}
    with safe_open(weights, "pt") as file:
        assert '"algo": "outer"' in file.metadata()["ss_network_args"]
    precise = [*small, "train.steps=1", "train.save_precision=fp32"]
    monkeypatch.syspath_prepend(str(folder))
    train_here(folder, *precise, "network=outer", f"network.weights={weights}", "runs=again")
    started, _ = result(folder / "again")
    assert started["val/loss"][0] == pytest.approx(series["val/loss"][4], rel=1e-3)
    train_here(folder, *precise, f"model.base_weights=[{weights}]", "runs=merged")
    merged, _ = result(folder / "merged")
    assert merged["val/loss"][0] == pytest.approx(series["val/loss"][4], rel=1e-3)
    assert main([*COMMON, *precise, "network=locon", f"network.weights={weights}", "runs=other"]) == 2
    assert "holds outer layers, the network is locon" in capsys.readouterr().err
    assert main([*COMMON, *precise, "network=outer", "train.max_weight_norm=1", "runs=other"]) == 2
    assert "train.max_weight_norm=1: has no effect on Outer" in capsys.readouterr().err.replace("=1.0:", "=1:")


def test_an_own_file_of_conf_network_is_a_choice_and_its_kind_is_known(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert "outer" in groups(folder)["network"]
    assert len(folders("conf", folder)) == 2
    assert [kind.name for kind in file_kinds()][-1] == "outer"
    assert "outer" not in [kind.name for kind in shipped_kinds()]
