from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sweeplora.__main__ import main
from sweeplora.config.compose import asset, compose
from sweeplora.errors import UserError, UserErrors
from sweeplora.experiment import NotComposed


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_values_and_choices_take_effect_and_interpolations_are_resolved() -> None:
    composed = compose(["network=lokr", "network.dim=3", "name=x-${network.dim}", "runs=/r"])
    assert composed.config["network"]["_target_"].endswith("LoKr")
    assert composed.config["name"] == "x-3"
    assert composed.config["tracking"]["uri"] == "sqlite:////r/mlflow.db"
    assert composed.overrides == ("network=lokr", "network.dim=3", "name=x-${network.dim}", "runs=/r")


def test_the_order_on_the_command_line_does_not_matter() -> None:
    assert compose(["optimizer.lr=3", "optimizer=lion"]).config == compose(["optimizer=lion", "optimizer.lr=3"]).config


def test_one_composition_does_not_leak_into_the_next() -> None:
    before = compose([]).config
    compose(["network.dim=99", "+network.extra=1", "~data.flip"])
    assert compose([]).config == before


def test_the_yaml_of_a_run_folder_reads_back_as_the_same_values() -> None:
    composed = compose(["name='1e-3'", "data.caption_prefix='no'", "optimizer.lr=1e-9", "optimizer.eps=3"])
    assert yaml.safe_load(composed.yaml) == composed.config
    assert composed.config["name"] == "1e-3"


def test_an_asset_is_an_absolute_path_inside_the_package() -> None:
    path = asset("data/twemoji-style")
    assert path.is_absolute()
    assert path.is_dir()
    assert compose([]).config["data"]["dir"] == str(path / "train")


def test_a_sweep_sets_its_section_and_its_choices_and_the_command_line_wins() -> None:
    config = compose(["+sweep=lr", "network=loha", "sweep.trials=3"]).config
    assert config["sweep"]["name"] == "lr"
    assert config["sweep"]["trials"] == 3
    assert config["search"]["_target_"].endswith("grid")
    assert config["network"]["_target_"].endswith("LoHa")


def test_what_nobody_gave_stays_open_for_a_sweep_to_propose() -> None:
    assert compose(["model=sdxl"]).config["model"]["path"] == "???"


def test_the_users_own_files_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "conf/network/locon.yaml", "_target_: mine.Own\ndim: 77\n")
    _write(tmp_path / "conf/optimizer/lode.yaml", "_target_: my_optim.LodeW\n_partial_: true\nlr: 1.0\n")
    _write(tmp_path / "sweeps/rank_alpha.yaml", "# @package _global_\nsweep:\n  name: my_own\n")
    _write(
        tmp_path / "sweeps/new.yaml",
        "# @package _global_\ndefaults:\n  - override /optimizer: lode\nsweep:\n  name: new\n",
    )
    monkeypatch.chdir(tmp_path)
    assert compose([]).config["network"] == {"_target_": "mine.Own", "dim": 77}
    assert compose(["+sweep=rank_alpha"]).config["sweep"]["name"] == "my_own"
    assert compose(["+sweep=new"]).config["optimizer"]["_target_"] == "my_optim.LodeW"
    assert compose(["network=lokr"]).config["network"]["_target_"].endswith("LoKr")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network.dimm=4"], "network.dimm=4: no such key; nearest: network.dim"),
        (["netwrok.dim=4"], "netwrok.dim=4: no such key; nearest: network.dim"),
        (["netwrok=lokr"], "netwrok=lokr: no such key; nearest: network"),
        (["network=lokar"], "network=lokar: no such choice; there are: boft, diag-oft, dora, "),
        (["network=null"], "network=null: no such choice"),
        (["network=[locon,lokr]"], "network=[locon,lokr]: no such choice"),
        (["+network=lokr"], "+network=lokr: a choice is changed without a sign: network=lokr"),
        (["~network"], "network=: no such choice"),
        (["+sweep=rank_alfa"], "+sweep=rank_alfa: no such sweep; nearest: rank_alpha"),
        (["sweep=rank_alpha"], "a sweep is added with a plus sign: +sweep=rank_alpha"),
        (["+sweep=rank_alpha", "+sweep=noise"], "one sweep at a time"),
        (["optimizer=adamw", "optimizer.d_coef=2"], "optimizer.d_coef=2: no such key"),
        (["network.dim=choice(1,2)"], "network.dim=choice(1,2): several values need a study"),
        (["data.dir=/a,b"], "one value with a comma needs quotes"),
        (["network.dim=("], "network.dim=(: not readable"),
        (["name=${foo.bar}"], "name=${foo.bar}: Interpolation key 'foo.bar' not found"),
        (["hydra.verbose=true"], "hydra.* has no effect"),
        (["+network.dim=5"], "network.dim=5: Could not append to config"),
        (["junk"], "command line=junk: neither a verb nor key=value"),
    ],
)
def test_what_cannot_be_composed_is_one_line_that_names_it(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose(overrides)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["sweeps/broken.yaml", "conf/network/broken.yaml"])
def test_a_file_that_is_no_yaml_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / place, "a: [1\nb: 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"broken\.yaml"):
        compose(["+sweep=broken" if "sweeps" in place else "network=broken"])


def test_all_words_that_cannot_be_composed_are_said_at_once() -> None:
    with pytest.raises(UserErrors) as caught:
        compose(["network=lokar", "network.dim=(", "junk"])
    assert str(caught.value).count("\n") == 2
    with pytest.raises(NotComposed) as wrong:
        compose(["network.dimm=4", "seeds=1", "seed=3"])
    assert [line.partition(":")[0] for line in str(wrong.value).split("\n")] == ["network.dimm=4", "seeds=1"]
    assert wrong.value.rest.config["seed"] == 3


_MINE = """# @package _global_
# Is mine better?
defaults:
  - override /model: sdxl
model: {path: /mine.safetensors, prediction: v_prediction}
optimizer: {lr: 0.5}
sweep: {name: mine}
"""


def test_a_choice_on_top_of_a_sweep_replaces_what_its_file_says_of_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "sweeps/mine.yaml", _MINE)
    monkeypatch.chdir(tmp_path)
    alone = compose(["+sweep=mine"])
    assert (alone.config["model"]["path"], alone.config["optimizer"]["lr"]) == ("/mine.safetensors", 0.5)
    other = compose(["+sweep=mine", "model=emoji", "model.max_tokens=150"])
    assert other.config["model"] == {**compose(["model=emoji"]).config["model"], "max_tokens": 150}
    assert other.config["optimizer"]["lr"] == 0.5
    said = "model=emoji replaces what the sweep's file says of it: model.path, model.prediction"
    assert (alone.notices, other.notices) == ((), (said,))
    same = compose(["+sweep=mine", "model=sdxl", "optimizer=adamw"])
    assert (same.config, same.notices) == (alone.config, ())
    proposed = compose(["+sweep=mine"], ["optimizer=lion"])
    assert (proposed.config["optimizer"]["lr"], proposed.notices) == (0.5, ())


def test_one_file_of_sweeps_that_cannot_be_read_stands_in_no_other_ones_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "sweeps/good.yaml", "# @package _global_\nsweep: {name: good}\n")
    for name, content in {"torn": b"a: [1\n", "bytes": b"\xff\xfe\x00", "scalar": b"3\n", "list": b"- 1\n"}.items():
        (tmp_path / f"sweeps/{name}.yaml").write_bytes(content)
    (tmp_path / "sweeps/empty.yaml").write_text("# nothing yet\n")
    (tmp_path / "sweeps/folder.yaml").mkdir()
    (tmp_path / "sweeps/lost.yaml").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    assert compose(["+sweep=good"]).config["sweep"]["name"] == "good"
    for name in ("torn", "bytes", "scalar", "list", "empty"):
        with pytest.raises(UserError, match=rf"\+sweep={name}: .*{name}\.yaml is"):
            compose([f"+sweep={name}"])
    assert main(["--help"]) == 0
    assert "torn" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["2024", "007", "1e-4", "true", "null", "faces/rank", "other"])
def test_a_sweep_is_found_by_whatever_its_file_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = "yml" if name == "other" else "yaml"
    _write(tmp_path / f"sweeps/{name}.{ending}", "# @package _global_\nseed: 77\nsweep: {name: mine}\n")
    monkeypatch.chdir(tmp_path)
    assert compose([f"+sweep={name}"]).config["seed"] == 77


@pytest.mark.parametrize("name", ["2024", "007", "true", "null"])
def test_a_choice_is_found_by_whatever_its_file_is_called(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / f"conf/optimizer/{name}.yaml", "_target_: mine.Own\nlr: 7.0\n")
    _write(tmp_path / "conf/optimizer/ending.yml", "_target_: mine.Own\n")
    monkeypatch.chdir(tmp_path)
    assert compose([f"optimizer={name}"]).config["optimizer"]["lr"] == 7.0
    assert compose([], [f"optimizer={name}"]).config["optimizer"]["lr"] == 7.0
    with pytest.raises(UserError, match=r"ending\.yml has to be called ending\.yaml"):
        compose(["optimizer=ending"])


@pytest.mark.parametrize(
    "text", ["defaults:\n  - db: mysql\n", "db: mysql\n", "a: [1\n", "- 1\n", "sweep: 3\n", "defaults: 3\n"]
)
def test_a_config_of_another_project_is_named(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "conf/config.yaml", text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=str(tmp_path / "conf/config.yaml")):
        compose([])
