"""Which script is started, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.commands.convert import main
from sweeplora.convert.reading.files import HERE
from sweeplora.convert.reading.launch import find, launched, settle
from sweeplora.convert.scripts.source import read
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError
from tests.convert.commands import LEAST, NETWORK, converted, fate, keys


@pytest.mark.parametrize(
    "text",
    [
        "accelerate launch --num_cpu_threads_per_process 1 sdxl_train_network.py --a",
        "python -m accelerate.commands.launch C:/kohya/sd-scripts/sdxl_train_network.py --a",
        "if true; then cd x; nohup accelerate launch ./sd-scripts/sdxl_train_network.py --a; fi",
        "python -m sdxl_train_network --a",
        "torchrun --nproc_per_node=2 sdxl_train_network.py --a",
    ],
)
def test_the_training_is_found_wherever_it_stands(text: str) -> None:
    reading = read(Script(text, "text"))
    (training,) = find(reading)
    command = settle(training, reading.script)
    assert (command.script, command.words) == ("sdxl_train_network.py", ("--a",))


@pytest.mark.parametrize(
    "script", ["flux_train_network.py", "sdxl_train.py", "train_textual_inversion.py", "sd3_train.py"]
)
def test_another_script_is_refused_by_name(script: str) -> None:
    with pytest.raises(UserError, match=script):
        find(read(Script(f"accelerate launch {script} --a", "text")))


def test_no_script_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="no training script"):
        find(read(Script("ls -l", "text")))


def test_each_process_had_a_batch_of_its_own_there() -> None:
    made = keys("--train_batch_size=3 --gradient_accumulation_steps=2", launcher="accelerate launch --num_processes=4")
    assert made["launcher.processes_per_trial"] == 4
    assert made["train.batch_size"] == 12
    assert made["train.accumulation"] == 2


def test_steps_that_each_process_counted_there_are_divided() -> None:
    four = "accelerate launch --multi_gpu --num_processes 4"
    assert keys("--lr_scheduler=linear --lr_warmup_steps=100", launcher=four)["scheduler.warmup"] == 25
    assert keys("--lr_scheduler=linear --lr_warmup_steps=0.1", launcher=four)["scheduler.warmup"] == 0.1


def test_a_number_of_processes_that_nobody_says_is_one_and_said() -> None:
    count, entries = launched(["accelerate", "launch"], HERE)
    assert count == 1
    assert "is not in the command" in entries[0].note


def test_several_gpus_without_their_number_lack_something(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = f"accelerate launch --multi_gpu train_network.py {LEAST} {NETWORK}"
    assert main([f"--output={tmp_path / 'it.yaml'}", text]) == 1
    assert "launch --multi_gpu: the number of processes is not in the command" in capsys.readouterr().err


def test_the_launchers_own_file_says_how_many(tmp_path: Path) -> None:
    file = tmp_path / "default_config.yaml"
    file.write_text("num_processes: 3\nmixed_precision: bf16\n")
    assert launched(["accelerate", "launch", "--config_file", str(file)], HERE)[0] == 3


def test_several_machines_are_refused() -> None:
    with pytest.raises(UserError, match="--num_machines=2"):
        launched(["accelerate", "launch", "--num_machines=2", "--num_processes=4"], HERE)


def test_the_launchers_precision_does_nothing_there_and_every_option_is_accounted_for() -> None:
    options = "--mixed_precision bf16 --dynamo_backend no --num_cpu_threads_per_process=2 --gpu_ids 0,1"
    made = converted("", launcher=f"accelerate launch {options} --main_process_port 29 --quiet")
    fates = {entry.flag: entry.fate for entry in made.entries if entry.flag.startswith("launch ")}
    assert fates == {
        "launch --num_processes": "default",
        "launch --mixed_precision": "no effect",
        "launch --dynamo_backend": "no effect",
        "launch --num_cpu_threads_per_process": "became",
        "launch --gpu_ids": "aside",
        "launch --main_process_port": "no effect",
        "launch --quiet": "no effect",
    }
    assert fate(made, "--mixed_precision") == {"default"}
