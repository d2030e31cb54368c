"""Everything in a configuration that cannot work is said before compute."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeplora.check.configuration import check
from sweeplora.config.compose import compose
from sweeplora.errors import UserError, UserErrors
from sweeplora.experiment import Experiment, Group
from sweeplora.models import tiny
from tests.check.pictures import six_pictures

Checked = Callable[..., Experiment]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.build(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return six_pictures(tmp_path / "pictures")


@pytest.fixture
def checked(model: Path, pictures: Path, tmp_path: Path) -> Checked:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat\n")
    base = ["data=folder", f"data.dir={pictures}", "data.val_split=0.5", f"model.path={model}"]
    base += [f"sample.prompts={prompts}", f"runs={tmp_path / 'runs'}", "launcher.device=cpu"]
    return lambda *overrides: check(compose([*base, *overrides]))


def _refusal(checked: Checked, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        checked(*overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+foo=1"], "foo=1: no such key"),
        (["+network.foo=1"], "network.foo=1: sweeplora.networks.algorithms.LoCon takes no foo"),
        (["~network.dim"], "network.dim=: sweeplora.networks.algorithms.LoCon needs it"),
        (["+sweep.foo=1"], "sweep.foo=1: no such key; there are: name"),
        (["network.dim=true"], "network.dim=true: expected a whole number >= 1"),
        (["network.dim=4.5"], "network.dim=4.5: expected a whole number >= 1"),
        (["network.dim=0"], "network.dim=0: expected a whole number >= 1"),
        (["network.preset=attn"], "network.preset=attn: expected one of full, full-lin, blocks, attn-mlp, "),
        (["train.mixed_precision=fp8"], "train.mixed_precision=fp8: expected one of no, fp16, bf16"),
        (["train.epochs=-1"], "train.epochs=-1: expected a whole number >= 1, <= 1000000 or null"),
        (["optimizer.lr=fast"], "optimizer.lr=fast: expected a number"),
        (["optimizer=prodigy", "optimizer.lr=fast"], "optimizer.lr=fast: expected a number"),
        (["optimizer=prodigy", "optimizer.lr=1e-4"], "optimizer.lr=0.0001: another optimizer's rate"),
        (["optimizer.lr=0"], "optimizer.lr=0: expected a number > 0"),
        (["optimizer.lr=null"], "optimizer.lr=null: expected a number"),
        (["optimizer.betas=[0.9]"], "optimizer.betas=[0.9]: expected a list"),
        (["optimizer.betas=0.9"], "optimizer.betas=0.9: expected a list"),
        (["seed=x"], "seed=x: expected a whole number >= 0"),
        (["reuse=1"], "reuse=1: expected true or false"),
        (["name=''"], "name=: expected text that is not empty"),
        (["name=a/b"], "name=a/b: it becomes a file's name"),
        (["sweep.trials=0"], "sweep.trials=0: expected a whole number >= 1, <= 1000000 or null"),
        (["sweep.objective=val/los"], "sweep.objective=val/los: no such metric; nearest: val/loss"),
        (["optimizer._target_=no_such.Thing"], "there is no package no_such here; pip install no_such"),
        (["optimizer._target_=torch.optim.Adamw"], "there is no Adamw in torch.optim"),
        (["optimizer._target_=3"], "optimizer._target_=3: expected text"),
        (["train.mixed_precision=fp16"], "train.mixed_precision=fp16: a CPU has no half precision"),
        (["sweep.objective=[val/loss,probe/loss]", "pruner=median"], "Optuna cannot prune on several objectives"),
        (["sweep.objective=probe/loss", "pruner=median"], "train.probe_every_epochs=0: a pruner sees no probe/loss"),
        (["train.probe_images=0", "train.probe_every_epochs=2"], "train.probe_every_epochs=2: has no effect with"),
        (["sweep.objective=probe/loss", "train.probe_images=0"], "train.probe_images=0: sweep.objective=probe/loss"),
        (["network.use_tucker=true", "network.preset=attn-only"], "network.use_tucker=True: "),
        (["network.dora=true", "network.dropout=0.1"], "network.dropout=0.1: has no effect"),
        (["network=lokr", "+network.dropout=0.1"], "network.dropout=0.1: sweeplora.networks.algorithms.LoKr takes no"),
        (["loss.huber_c=0.2"], "loss.huber_c=0.2: loss.kind=l2 does not use it"),
        (["train.min_timestep=700", "train.max_timestep=600"], "train.min_timestep=700: must be below"),
        (["train.max_timestep=1001"], "train.max_timestep=1001: the model has 1000"),
        (["model.zero_terminal_snr=true"], "model.zero_terminal_snr=True: needs model.prediction=v_prediction"),
        (["model.vae=/no/vae"], "model.vae=/no/vae: it does not exist"),
        (["model.path=/no/model"], "model.path=/no/model: it does not exist"),
        (["data.dir=/no/pictures"], "data.dir=/no/pictures: the folder does not exist"),
        (["data.resolution=70", "data.bucket=false"], "data.resolution=70: must be a multiple of"),
        (["sample.prompts=/no/prompts.txt"], "sample.prompts=/no/prompts.txt: not readable"),
        (
            ["model.prediction=v_prediction", "model.zero_terminal_snr=true", "sample.sampler=heun"],
            "sample.steps=20: sampler heun needs at least 30",
        ),
        (["sample.sampler=fast"], "sample.sampler=fast: expected one of ddim, "),
        (["launcher.slots=0"], "launcher.slots=0: expected a whole number >= 1 or null"),
        (["tracking.uri=/a/folder"], "tracking.uri=/a/folder: give sqlite:///"),
        (["data=folder", "data.dir='???'"], "data.dir=???: give data.dir="),
        (["optimizer.lr=inf"], "optimizer.lr=inf: expected a finite number"),
        (["optimizer=any", "+optimizer.eps=-inf"], "optimizer.eps=-inf: expected a finite number"),
        (["optimizer=any", "+optimizer.betas=[0.9,nan]"], "optimizer.betas[1]=nan: expected a finite number"),
        (["sample.guidance=inf"], "sample.guidance=inf: expected a finite number"),
        (["+network._partial_=true"], "network._partial_=True: has no effect on network"),
        (["optimizer._partial_=false"], "optimizer._partial_=False: an optimizer gets the network's parameters"),
        (["+loss._partial_=true"], "loss._partial_=True: sweeplora.diffusion.losses.Loss is a class"),
        (["+noise._partial_=3"], "noise._partial_=3: expected true or false"),
        (["+train._convert_=all"], "train._convert_=all: has no effect"),
        (["data.caption_prefix='a\0b'"], "data.caption_prefix=a\\x00b: is no text that a file can hold"),
        (["data.caption_prefix='\udcff'"], "data.caption_prefix=\\udcff: is no text that a file can hold"),
        (["network.dim=1000000000"], "network.dim=1000000000: expected a whole number >= 1, <= 1000000"),
        (["train.batch_size=1000000000"], "train.batch_size=1000000000: expected a whole number >= 1, <= 100000"),
        (["+data._args_=[1]"], "data._args_=[1]: has no effect"),
        (
            ["seed=9223372036854775808"],
            "seed=9223372036854775808: is beyond 64 bits",
        ),
        (["sample.seed=99999999999999999999"], "sample.seed=99999999999999999999: is beyond 64 bits"),
        (["sweep.objective=[val/loss,val/loss]"], 'sweep.objective=["val/loss", "val/loss"]: names val/loss twice'),
        ([f"name={'n' * 241}"], "it becomes a file's name; use at most 120 letters"),
        ([f"name='{'ü' * 119}'"], "it becomes a file's name; use at most 120 letters"),
        ([f"sweep.name={'n' * 241}"], "it becomes a file's name; use at most 120 letters"),
        (["tracking.artifacts=/etc/passwd"], "tracking.artifacts=/etc/passwd: files cannot be created there"),
        (["tracking.tensorboard=/etc/passwd"], "tracking.tensorboard=/etc/passwd: files cannot be created there"),
        (["tracking.uri='sqlite:////etc/passwd/x.db'"], "the database cannot be created there"),
        (["tracking.uri='postgresql://u@h/d'"], "its driver is not installed; pip install psycopg"),
        (["tracking.uri='nodb://u@h/d'"], "tracking.uri=nodb://u@h/d: give sqlite:///PATH.db"),
        ([f"model.path=/{'x' * 5000}"], "File name too long"),
        (["data=folder", f"data.dir=/{'x' * 5000}"], "File name too long"),
        ([f"runs=/{'x' * 5000}"], "File name too long"),
        ([f"sample.prompts=/{'x' * 5000}"], "not readable"),
    ],
)
def test_what_cannot_work_is_refused_by_key_value_and_mend(checked: Checked, overrides: list[str], said: str) -> None:
    assert said in _refusal(checked, *overrides)


def test_bitsandbytes_on_a_cpu_is_refused_for_the_cpu_or_for_the_package(checked: Checked) -> None:
    assert _refusal(checked, "optimizer=adamw8bit").startswith("optimizer")


def test_a_model_folder_that_lacks_a_part_is_refused(checked: Checked, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "partial"
    folder.mkdir()
    for part in model.iterdir():
        if part.name != "text_encoder_2":
            (folder / part.name).symlink_to(part)
    assert "text_encoder_2" in _refusal(checked, f"model.path={folder}")


def test_images_without_captions_are_counted_and_the_first_named(checked: Checked, pictures: Path) -> None:
    (pictures / "2.txt").unlink()
    (pictures / "4.txt").unlink()
    said = _refusal(checked)
    assert "2 of" in said
    assert "2.png" in said


def test_a_truncated_image_is_refused(checked: Checked, pictures: Path) -> None:
    content = (pictures / "3.png").read_bytes()
    (pictures / "3.png").write_bytes(content[: len(content) // 2])
    assert "3.png" in _refusal(checked)


def test_a_folder_without_images_is_refused(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no image" in _refusal(checked, f"data.dir={tmp_path / 'empty'}")


def test_a_runs_folder_that_is_a_file_is_refused(checked: Checked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "files cannot be created there" in _refusal(checked, f"runs={tmp_path / 'file'}")


def test_prompts_do_not_matter_where_no_image_is_drawn(checked: Checked) -> None:
    first = checked("sample=none", "sample.prompts=/no/prompts.txt")
    assert first.signature == checked("sample=none", "sample.prompts=/no/prompts.txt").signature


def test_steps_are_epochs_times_batches_over_accumulation_rounded_up(checked: Checked) -> None:
    facts = checked("data.val_split=0.17", "train.batch_size=2", "train.accumulation=2", "train.epochs=3")
    # five of six images train: 3 batches of at most 2, 2 windows of at most 2
    assert facts.steps == 6
    assert "5 images an epoch in 3 batches" in facts.arithmetic


def test_the_signature_follows_what_decides_the_result(checked: Checked, pictures: Path, tmp_path: Path) -> None:
    first = checked().signature
    assert checked("file_name=other", "launcher.slots=1", "tracking=none").signature == first
    assert checked("name=other").signature != first  # it is in the file
    assert checked("network.dim=9").signature != first
    assert checked("seed=1").signature != first
    (tmp_path / "prompts.txt").write_text("a dog\n")
    changed_prompts = checked().signature
    assert changed_prompts != first
    (pictures / "0.txt").write_text("another caption")
    assert checked().signature not in (first, changed_prompts)


def test_the_signature_does_not_depend_on_where_things_lie(checked: Checked, pictures: Path, tmp_path: Path) -> None:
    first = checked().signature
    elsewhere = pictures.rename(tmp_path / "elsewhere")
    assert checked(f"data.dir={elsewhere}", f"runs={tmp_path / 'runs2'}").signature == first


def test_a_check_knows_its_answers_again(checked: Checked, pictures: Path, tmp_path: Path) -> None:
    checked()
    memo: dict[str, Any] = json.loads((tmp_path / "runs/cache/images.json").read_text())
    assert len(memo["entries"]) == 6


def test_all_that_is_wrong_is_said_at_once_each_with_its_mend(checked: Checked, tmp_path: Path) -> None:
    wrong = ["model.path=/no/model", f"data.dir={tmp_path}/none", "optimizer.lr=fast", "network.dimm=3", "seed=-1"]
    wrong += ["sample.prompts=/no/prompts.txt", "name=a/b", "tracking.artifacts=/etc/passwd", "sweep.objective=los"]
    with pytest.raises(UserErrors) as caught:
        checked(*[f"+{word}" if "dimm" in word else word for word in wrong])
    lines = str(caught.value).split("\n")
    assert sorted(line.partition("=")[0] for line in lines) == sorted(word.partition("=")[0] for word in wrong)
    assert "optimizer.lr=fast: expected a number" in lines
    assert all(line.partition(": ")[2] for line in lines)


def test_a_step_that_needs_a_refused_value_says_nothing(checked: Checked) -> None:
    # Prodigy's rate, the half precision of a CPU and the length of a training all need what is wrong here.
    said = _refusal(checked, "optimizer=prodigy", "optimizer.lr=x").split("\n")
    assert len(said) == 1
    assert _refusal(checked, "train.mixed_precision=fp8").startswith("train.mixed_precision=fp8: expected one of")


def test_a_long_value_is_shown_at_its_start_and_end(checked: Checked) -> None:
    said = _refusal(checked, f"optimizer.lr='{'long ' * 1000}'")
    assert len(said) < 300
    assert "(5000 letters)" in said


def test_a_refused_configuration_leaves_nothing_behind(checked: Checked, tmp_path: Path) -> None:
    _refusal(checked, "sample.prompts=/no/prompts.txt")
    assert not (tmp_path / "runs").exists()
    (tmp_path / "runs/mine").mkdir(parents=True)
    _refusal(checked, "sample.prompts=/no/prompts.txt")
    assert (tmp_path / "runs/mine").is_dir()


def test_a_group_is_frozen_once_in_a_check(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: Counter[str] = Counter()
    init = Group.__init__

    def counted(group: Group, content: dict[str, Any]) -> None:
        frozen[content["_target_"]] += 1
        init(group, content)

    monkeypatch.setattr(Group, "__init__", counted)
    checked()
    assert len(frozen) > 10
    assert set(frozen.values()) == {1}
