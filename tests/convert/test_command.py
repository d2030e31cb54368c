"""The verb: what it reads, writes, prints and returns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeplora.__main__ import main as sweeplora
from sweeplora.check.shape import check_shape
from sweeplora.commands.convert import main
from sweeplora.config.compose import compose
from sweeplora.convert.dataset.treatment import SAME
from sweeplora.convert.reading.dataset_schema import FLAG_OF
from sweeplora.convert.reading.flags import FLAGS
from sweeplora.errors import UserError
from tests.convert.commands import LEAST, NETWORK

_COMMAND = f"accelerate launch sdxl_train_network.py {LEAST} {NETWORK}"


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _written(name: str = "it") -> dict[str, Any]:
    tree = yaml.safe_load(Path(f"sweeps/{name}.yaml").read_text())
    assert isinstance(tree, dict)
    return tree


def test_it_writes_a_sweeps_file_and_a_report_and_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweeplora(["convert", f"{_COMMAND} --flip_aug --clip_skip=2"]) == 0
    text = Path("sweeps/it.yaml").read_text()
    assert text.startswith("# @package _global_\n# One training, converted from a command of sd-scripts")
    assert "accelerate launch sdxl_train_network.py" in text
    page = Path("sweeps/it.conversion.md").read_text()
    assert "| `--flip_aug` | `data.flip` | `true` |" in page
    assert "| `--clip_skip 2` |" in page or "| `--clip_skip` |" in page
    assert page in capsys.readouterr().out


def test_words_after_two_dashes_and_a_script_give_the_same_file() -> None:
    assert main(["--output", "sweeps/a.yaml", "--", *_COMMAND.split(), "--seed=3"]) == 0
    Path("train.sh").write_text(f"#!/bin/sh\nSEED=3\n{_COMMAND} \\\n  --seed=$SEED\n")
    assert main(["--output=sweeps/b.yaml", "train.sh"]) == 0
    assert _written("a") == _written("b")


def test_nothing_is_overwritten_unless_forced() -> None:
    assert main([_COMMAND]) == 0
    with pytest.raises(UserError, match="--force"):
        main([f"{_COMMAND} --seed=5"])
    assert _written()["seed"] == 0
    assert main(["--force", f"{_COMMAND} --seed=5"]) == 0
    assert _written()["seed"] == 5


def test_one_of_several_trainings_is_chosen_by_number() -> None:
    Path("two.sh").write_text(f"{_COMMAND} --seed=1\n{_COMMAND} --seed=2 --output_name=second\n")
    with pytest.raises(UserError, match="2 trainings: choose one with --command N"):
        main(["two.sh"])
    assert main(["--command", "2", "two.sh"]) == 0
    assert _written("second")["seed"] == 2


def test_what_is_missing_is_said_in_one_line_and_in_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{_COMMAND} --lerning_rate=1e-4 --face_crop_aug_range=1,2"]) == 1
    said = capsys.readouterr()
    assert "--lerning_rate: nearest: learning_rate" in said.err
    assert "--face_crop_aug_range: cropping around faces" in said.err
    assert "## Unknown to sd-scripts" in said.out
    assert "## Not taken over" in said.out


@pytest.mark.parametrize("words", [[], ["nowhere.sh"], ["--output", "x.txt", "a"], ["--command", "x", "a"], ["ls -l"]])
def test_what_it_cannot_read_is_refused(words: list[str]) -> None:
    with pytest.raises(UserError):
        main(words)
    assert not Path("sweeps").exists()


def test_the_command_line_prints_one_line_and_returns_2_when_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert sweeplora(["convert", "accelerate launch flux_train_network.py --help"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_secrets_are_in_neither_file(capsys: pytest.CaptureFixture[str]) -> None:
    main([f"{_COMMAND} --huggingface_token hf_secret --wandb_api_key=wb_secret --huggingface_repo_id=me/it"])
    for text in (
        Path("sweeps/it.yaml").read_text(),
        Path("sweeps/it.conversion.md").read_text(),
        capsys.readouterr().out,
    ):
        assert "secret" not in text
        assert "--huggingface_token" in text


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("d", "a ${b} c"), ("u", "a ${b"), ("s", "a \\${b}"), ("t", "a \\\\${b} \\"), ("p", "${${"), ("q", "$a '")],
)
def test_a_dollar_in_a_value_stays_a_dollar(name: str, prefix: str) -> None:
    words = [*_COMMAND.split(), f"--output_name={name}_dollar", f"--caption_prefix={prefix}"]
    assert main(["--", *words]) == 0
    assert compose([f"+sweep={name}_dollar"]).config["data"]["caption_prefix"] == prefix


def test_what_the_check_will_refuse_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"{_COMMAND} --optimizer_type=nowhere.Optimizer"]) == 0
    assert "sweeplora will refuse it: optimizer._target_" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        "",
        "--network_module=networks.lora --network_args conv_dim=4 down_lr_weight=0,1,1,1,1,1,1,1,1",
        "--network_module=networks.dylora --network_dim=8",
        "--network_args algo=loha rank_dropout=0.1 use_cp=True dora_wd=True",
        "--network_args algo=boft constraint=0.1 rescaled=True",
        "--network_args algo=full preset=attn-mlp train_norm=True",
        "--network_args algo=lokr full_matrix=True decompose_both=True",
        "--network_args algo=tlora",
        "--network_args algo=ia3",
        "--network_train_text_encoder_only --network_args conv_dim=4",
        "--optimizer_type=Prodigy --learning_rate=1 --optimizer_args decouple=True weight_decay=0.01 d_coef=2",
        "--optimizer_type=Adafactor --optimizer_args scale_parameter=False warmup_init=True",
        "--optimizer_type=Adafactor --optimizer_args relative_step=False --lr_scheduler=constant_with_warmup",
        "--optimizer_type=SGDNesterov --lr_scheduler=cosine_with_restarts",
        "--optimizer_type=AdamWScheduleFree --optimizer_args warmup_steps=10",
        "--lr_scheduler_type=StepLR --lr_scheduler_args step_size=3",
        "--lr_scheduler=warmup_stable_decay --lr_decay_steps=10",
        "--lr_scheduler=cosine_with_min_lr --lr_scheduler_args min_lr=1e-7",
        "--loss_type=huber --huber_schedule=constant --huber_scale=2",
        "--noise_offset=0.1 --multires_noise_iterations=6 --ip_noise_gamma=0.1 --loss_type=smooth_l1",
        "--masked_loss --alpha_mask --reg_data_dir=/r --weighted_captions --token_warmup_step=0.2 --enable_wildcard",
        "--sample_prompts=p.txt --sample_every_n_epochs=1 --sample_sampler=k_dpm_2_a --logging_dir=logs",
    ],
)
def test_what_is_written_composes_and_its_values_fit(flags: str) -> None:
    script = "train_network.py" if "down_lr" not in flags and "boft" in flags else "sdxl_train_network.py"
    network = "" if "--network_module" in flags else NETWORK
    assert main([f"accelerate launch {script} {LEAST} {network} {flags}"]) == 0
    config = compose(["+sweep=it"]).config
    assert config["sweep"]["name"] is None
    check_shape(config)


def test_what_nobody_said_is_as_it_is_in_sd_scripts() -> None:
    assert main([_COMMAND]) == 0
    config = compose(["+sweep=it"]).config
    for option, key in SAME.items():
        flag = FLAG_OF.get(option, option)
        there = FLAGS[flag].default if flag in FLAGS else None
        assert (config["data"][key] or None) == (there or None), key
    assert (config["data"]["bucket"], config["data"]["caption_extension"]) == (False, ".caption")
    assert (config["optimizer"]["lr"], config["optimizer"]["weight_decay"]) == (2e-6, 0.01)
    assert (config["train"]["steps"], config["train"]["epochs"], config["train"]["batch_size"]) == (1600, None, 1)
    assert (config["network"]["dim"], config["network"]["alpha"], config["network"]["text_encoders"]) == (4, 1, True)
    assert (config["train"]["save_every_epochs"], config["train"]["save_precision"]) == (0, "fp32")
    assert (config["train"]["max_weight_norm"], config["train"]["max_grad_norm"]) == (0.0, 1.0)
    assert (config["noise"]["offset"], config["noise"]["multires_iterations"], config["noise"]["input_gamma"]) == (
        0,
        0,
        0,
    )
    assert (config["loss"]["kind"], config["loss"]["min_snr_gamma"], config["loss"]["debiased"]) == ("l2", None, False)
    assert config["scheduler"] == {
        "_target_": "sweeplora.training.optim.schedules.constant",
        "_partial_": True,
        "warmup": 0,
    }
    assert not any(config["sample"][key] for key in ("every_steps", "every_epochs", "at_first", "at_last"))


def test_converting_loads_nothing_heavy() -> None:
    code = f"import sys; from sweeplora.commands.convert import main; main([{_COMMAND!r}]); print(*sys.modules)"
    source = Path(__file__).resolve().parents[2] / "src"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "diffusers", "transformers", "lycoris", "optuna", "mlflow"}


@pytest.mark.parametrize("name", ["20240115", "1_000", "1e5", "true", "null", "1.5"])
def test_a_name_that_reads_as_a_value_becomes_one_that_can_be_asked_for(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([f"{_COMMAND} --output_name={name}"]) == 0
    assert f"+sweep=lora_{name}" in capsys.readouterr().out
    assert compose([f"+sweep=lora_{name}"]).config["name"] == name


@pytest.mark.parametrize("flag", ["--sample_every_n_epochs=1", "--sample_every_n_steps=5", "--sample_at_first"])
def test_previews_without_prompts_are_none_and_said(flag: str) -> None:
    assert main([f"{_COMMAND} {flag} --sample_sampler=euler"]) == 0
    assert compose(["+sweep=it"]).config["sample"]["every_epochs"] == 0
    assert "without --sample_prompts" in Path("sweeps/it.conversion.md").read_text()


def test_every_package_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sweeplora.convert.command.find_spec", lambda name: None)
    main([f"{_COMMAND} --optimizer_type=AdamW8bit --xformers --logging_dir=logs"])
    said = capsys.readouterr().err
    for package in ("bitsandbytes", "xformers", "tensorboard"):
        assert f"needs {package}; pip install" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--optimizer_args betas=(0.9,0.99)", "unquoted parenthesis"),
        ("--caption_prefix=a&b --seed=2", "unquoted &"),
        ("--caption_prefix=a|b", "unquoted |"),
        ("\u2013network_dim=16", "instead of two hyphens"),
        ("--caption_prefix=\u201ca b\u201d", "curly quotation mark"),
    ],
)
def test_the_real_reason_is_said(flags: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert sweeplora(["convert", f"{_COMMAND} {flags}"]) == 2
    assert said in capsys.readouterr().err
