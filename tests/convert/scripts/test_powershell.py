"""PowerShell scripts into commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.shells import powershell
from sweeplora.convert.scripts.text import Script
from sweeplora.errors import UserError

_PACK = r"""
# LoRA train script
$pretrained_model = "./sd-models/model.safetensors" # base model | a 'comment'
$model_type = "sdxl"
$is_v2_model = 0 # SD2.0 model
$train_data_dir = "./train/aki"
$reg_data_dir = ""
$network_module = "networks.lora"
$network_dim = 32
$network_alpha = 16
$resolution = "1024,1024"
$lr = "1e-4"
[int]$batch_size = 2
$multi_gpu = $false
$shuffle = $True
$Env:HF_HOME = "huggingface"
$ext_args = [System.Collections.ArrayList]::new()
$launch_args = [System.Collections.ArrayList]::new()

if ($multi_gpu) {
  [void]$launch_args.Add("--multi_gpu")
}
if ($model_type -eq "SDXL") {
  $trainer_file = "sdxl_train_network.py"
  $ext_args.Add("--no_half_vae") | Out-Null
}
elseif ($model_type -like "flux*") {
  $trainer_file = "flux_train_network.py"
}
else {
  $trainer_file = "train_network.py"
}
if ($reg_data_dir) { [void]$ext_args.Add("--reg_data_dir=" + $reg_data_dir) }
if ($network_module -eq "lycoris.kohya") {
  [void]$ext_args.Add("--network_args")
}
if ($batch_size -ge 2 -and -not $is_v2_model) { $ext_args += "--seed=$($batch_size + 5)" }
if ($shuffle) { [void]$ext_args.Add('--shuffle_caption') }
$optimizer_args = @("weight_decay=0.1", "betas=0.9,0.99")

<# a longer
   comment #>
python -m accelerate.commands.launch $launch_args --num_cpu_threads_per_process=8 "./sd-scripts/$trainer_file" `
  --pretrained_model_name_or_path=$pretrained_model `
  --train_data_dir="$train_data_dir/x y" `
  --resolution=$resolution --network_dim=$network_dim --network_alpha=${network_alpha} `
  --learning_rate=$lr --network_module=$network_module --train_batch_size=$batch_size `
  --optimizer_args $optimizer_args --price='$5' $ext_args 2>&1 | Tee-Object log.txt

Write-Output "Train finished with train_network.py"
Read-Host | Out-Null ;
"""


def _words(text: str, file: Path | None = None) -> list[list[str]]:
    reading = powershell(Script(text, "train.ps1", file, {}))
    return [[word.text for word in command.words] for command in reading.commands]


def test_a_trainer_packs_script() -> None:
    assert _words(_PACK)[0] == [
        *("python", "-m", "accelerate.commands.launch", "--num_cpu_threads_per_process=8"),
        *("./sd-scripts/sdxl_train_network.py", "--pretrained_model_name_or_path=./sd-models/model.safetensors"),
        *("--train_data_dir=./train/aki/x y", "--resolution=1024,1024", "--network_dim=32", "--network_alpha=16"),
        *("--learning_rate=1e-4", "--network_module=networks.lora", "--train_batch_size=2"),
        *("--optimizer_args", "weight_decay=0.1", "betas=0.9,0.99", "--price=$5", "--no_half_vae", "--seed=7"),
        "--shuffle_caption",
    ]
    reading = powershell(Script(_PACK, "train.ps1"))
    assert [training.script for training in find(reading)] == ["sdxl_train_network.py"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run --a `\n  --b", ["run", "--a", "--b"]),
        ('$a = "x"\n$b = "$a/y`"z"\nrun "--b=$b" --c=$a', ["run", '--b=x/y"z', "--c=x"]),
        ('run \'it\'\'s\' "a ""b"""', ["run", "it's", 'a "b"']),
        ('$Env:OUT = "D:\\my x"\nrun --o=$env:out --p="$Env:OUT\\y"', ["run", r"--o=D:\my x", r"--p=D:\my x\y"]),
        ('$a = @()\n$a += "--x"\n$a += "--y", "--z"\nrun $a @a', ["run", "--x", "--y", "--z", "--x", "--y", "--z"]),
        ("$a = @(\n  '--x'\n  '--y' # why\n)\nrun @a $a[1] $a.Count", ["run", "--x", "--y", "--y", "2"]),
        ("$n = 4 * 2 + 1\nrun $n --n=$($n - 1)", ["run", "9", "--n=8"]),
        ("$a = $null\nrun $a --x", ["run", "--x"]),
        ('& "D:\\py\\python.exe" run.py --a', [r"D:\py\python.exe", "run.py", "--a"]),
        ("$py = 'python'\n& $py run.py", ["python", "run.py"]),
        ("param([int]$dim = 16, [string]$name = 'x')\nrun $dim $name", ["run", "16", "x"]),
        ("function go($d) { run --d=$d }\ngo 8", ["run", "--d=8"]),
        ("if (1 -eq 1) { $a = 1 } else { $a = 2 }\nrun $a", ["run", "1"]),
        ("$k='a'\nif ($k -ne 'A' -or -not ($k -eq 'a')) { $a = 1 } else { $a = 2 }\nrun $a", ["run", "2"]),
        ("$x = 1\n$s = if ($x) { 'a.py' } elseif ($y) { 'c' } else { 'b.py' }\nrun $s", ["run", "a.py"]),
        ("$t = 'b'\nif ('a','b' -contains $t) { $a = 1 }\nrun $a", ["run", "1"]),
        ("$t = @'\nit's $5\n'@\nrun $t", ["run", "it's $5"]),
        ("run --x=1 > log.txt; run --y | Out-Null", ["run", "--y"]),
        (".\\venv\\Scripts\\activate\n$a = 1\nrun $a", ["run", "1"]),
    ],
)
def test_words_are_those_that_powershell_passes(text: str, words: list[str]) -> None:
    assert _words(text)[-1] == words


def test_the_scripts_own_folder_is_known(tmp_path: Path) -> None:
    words = _words('Set-Location $PSScriptRoot\nrun "$PSScriptRoot/x"', tmp_path / "train.ps1")
    assert words == [["run", f"{tmp_path}/x"]]


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("RUN --d=$nowhere", "$nowhere", "set nowhere"),
        ("RUN --d=$env:NOWHERE", "$env:NOWHERE", "set nowhere"),
        ("$d = 4\n$d = Read-Host 'rank'\nRUN --d=$d", "$d", "output of `Read-Host"),
        ("$d = 4\n$d = $(nvidia-smi)\nRUN --d=$d", "nvidia-smi", "output of a command"),
        ("$d = 4\nif (Test-Path x) { $d = 8 }\nRUN --d=$d", "$d", "Test-Path x"),
        ("$d = 4\nif ($env:BIG -eq 'y') { $d = 8 }\nRUN --d=$d", "$d", "BIG"),
        ("$d = 4\nforeach ($d in 16, 32) { RUN --d=$d }", "$d", "loop on line 2"),
        ("$d = 4\nwhile ($d -lt 9) { $d += 1 }\nRUN --d=$d", "$d", "while on line 2"),
        ("$d = 4\n. .\\settings.ps1\nRUN --d=$d", "$d", "settings.ps1"),
        ("param($d)\nRUN --d=$d", "$d", "parameter"),
        ("$h = @{a=1}\nRUN --d=$($h.a)", "$h", "table"),
        ("RUN --a `\n  # why\n  --b", "--b", "comment on line 2"),
        ("RUN --a ` \n  --b", "--b", "a blank follows the `"),
        ("RUN --a `\n\n  --b", "--b", "empty line 2"),
        ("RUN 512,768", "512,768", "unquoted comma"),
        ("RUN betas=(0.9,0.99)", "betas=(", "unquoted bracket"),
        ("if (1 -eq 1) {\nRUN", "{", "never closed"),
    ],
)
def test_what_is_not_known_or_broken_is_named(text: str, name: str, why: str) -> None:
    with pytest.raises(UserError) as refused:
        reading = powershell(Script(text.replace("RUN", "accelerate launch train_network.py"), "train.ps1"))
        settle(find(reading)[0], reading.script)
    assert name in str(refused.value)
    assert why in str(refused.value)
