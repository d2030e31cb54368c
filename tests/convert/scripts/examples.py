"""Whole inputs of every kind, as people have them: file name -> text."""

from __future__ import annotations

import json

_FLAGS = (
    "--pretrained_model_name_or_path=/m.safetensors --train_data_dir=/d --resolution=1024,1024 --output_name=it "
    "--network_module=lycoris.kohya --network_dim=16 --network_alpha=8 --network_args algo=lokr factor=8 conv_dim=4 "
    "--optimizer_type=AdamW --optimizer_args weight_decay=0.1 --learning_rate=1e-4 --text_encoder_lr 1e-5 2e-5 "
    "--lr_scheduler=cosine --lr_warmup_steps=0.1 --max_train_epochs=4 --enable_bucket --caption_extension=.txt "
    "--noise_offset=0.05 --min_snr_gamma=5 --save_every_n_epochs=1 --seed=42 --mixed_precision=bf16"
)
_BASH = r"""#!/bin/bash
# Model and data
MODEL="/models/base model.safetensors"
KIND=sdxl; DIM=16
DIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ARGS=(
  --network_module=networks.lora  # the network
  --network_dim $DIM --network_alpha=$((DIM / 2))
  --output_name "style_${KIND^^}_v1"
)
if [[ "$KIND" == sdxl && $DIM -ge 8 ]]; then
  SCRIPT=sdxl_train_network.py; ARGS+=(--no_half_vae)
else
  SCRIPT=train_network.py
fi
case $KIND in sd*) RES=1024 ;; *) RES=512 ;; esac
log() { echo "[train] $1"; }
run() { local seed=${1:-1}; accelerate launch --num_processes 1 "$SCRIPT" "${ARGS[@]}" --seed="$seed" \
  --pretrained_model_name_or_path="$MODEL" --train_data_dir='/data/a b' --resolution="$RES,$RES" \
  --optimizer_type AdamW --optimizer_args "weight_decay=0.1" "betas=0.9,0.99"; }
cat > notes.txt <<EOF
it's $KIND
EOF
[ -d out ] || mkdir -p out && log "start"
run 42 2>&1 | tee out/log.txt
"""
_BATCH = r"""@echo off
setlocal EnableDelayedExpansion
REM it's a style
set MODEL=D:\models\base.safetensors
set "OUT=D:\my loras"
set DIM=16
if "%DIM%"=="16" (
  set ALPHA=8
) else (
  set ALPHA=4
)
if not exist "%OUT%" mkdir "%OUT%"
call :train 42
pause
goto :eof
:train
accelerate launch --num_cpu_threads_per_process=2 sdxl_train_network.py ^
  --pretrained_model_name_or_path="%MODEL%" --train_data_dir=.\train\cat --resolution=1024 ^
  --network_module=networks.lora --network_dim=%DIM% --network_alpha=!ALPHA! --output_dir="%OUT%" ^
  --output_name=style --seed=%1 --optimizer_args weight_decay=0.1 betas=(0.9,0.99)
exit /b
"""
_POWERSHELL = r"""$model = "./models/base.safetensors" # the base
$dim = 16
$reg = ""
$ext_args = [System.Collections.ArrayList]::new()
$Env:HF_HOME = "cache"
if ($dim -ge 8 -and -not $reg) { [void]$ext_args.Add("--network_alpha=$($dim / 2)") }
else { $ext_args.Add("--network_alpha=1") | Out-Null }
foreach ($x in 1..3) { Write-Output "$x" }
$opt = @("weight_decay=0.1", 'betas=0.9,0.99')
python -m accelerate.commands.launch --num_processes=1 "./sd-scripts/sdxl_train_network.py" `
  --pretrained_model_name_or_path=$model --train_data_dir="./train/a b" --resolution="1024,1024" `
  --network_module="networks.lora" --network_dim=$dim --output_name="style_$dim" `
  --optimizer_args $opt $ext_args
"""
_GUI = {
    "LoRA_type": "Kohya LoCon",
    "conv_dim": 4,
    "conv_alpha": 1,
    "epoch": 4,
    "learning_rate": 0.0001,
    "lr_scheduler": "cosine",
    "lr_warmup": 10,
    "max_resolution": "1024,1024",
    "max_token_length": 75,
    "network_alpha": 8,
    "network_dim": 16,
    "optimizer": "AdamW",
    "optimizer_args": "weight_decay=0.1",
    "output_name": "gui",
    "pretrained_model_name_or_path": "/m.safetensors",
    "sdxl": True,
    "seed": "1",
    "text_encoder_lr": 0.0001,
    "train_batch_size": 2,
    "train_data_dir": "/d",
    "unet_lr": 0.0001,
    "xformers": "sdpa",
}
_NOTEBOOK = {
    "cells": [
        {"cell_type": "markdown", "source": ["# Train\n"]},
        {"cell_type": "code", "source": ["%env DIM=8\n", "name = 'it'\n", "%cd /content/sd-scripts\n"]},
        {"cell_type": "code", "source": f"!accelerate launch sdxl_train_network.py {_FLAGS} \\\n  --network_dropout=0"},
    ]
}
_DATASET = """[general]
shuffle_caption = true
caption_extension = ".txt"
keep_tokens = 1

[[datasets]]
resolution = [1024, 768]
batch_size = 2
enable_bucket = true
min_bucket_reso = 512
bucket_reso_steps = 64

  [[datasets.subsets]]
  image_dir = "/a"
  num_repeats = 2
  flip_aug = true

  [[datasets.subsets]]
  image_dir = "/r"
  is_reg = true
  class_tokens = "cat"
"""
_FLAGS_FILE = """model_train_type = "sdxl-lora"
pretrained_model_name_or_path = "/m.safetensors"
train_data_dir = "/d"
resolution = "1024,1024"
output_name = "flags"
network_module = "networks.lora"
network_dim = 16
network_args = ["conv_dim=4", "conv_alpha=1"]
[training]
learning_rate = 1e-4
max_train_epochs = 2
lr_scheduler = "cosine_with_restarts"
lr_scheduler_num_cycles = 2
flip_aug = true
max_token_length = 255
resume = false
"""
_COMMAND = f"accelerate launch --mixed_precision=bf16 sdxl_train_network.py {_FLAGS}"

EXAMPLES = {
    "train.sh": _BASH,
    "flat.sh": "#!/bin/sh\n" + _COMMAND.replace(" --", " \\\n  --"),
    "train.bat": _BATCH,
    "train.ps1": _POWERSHELL,
    "gui.json": json.dumps(_GUI, indent=2),
    "train.ipynb": json.dumps(_NOTEBOOK, indent=1),
    "guide.md": f"# Train\n\n```bash\nDIM=8\n{_COMMAND} --network_dropout=0\n```\n",
    "flags.toml": _FLAGS_FILE,
    "dataset.toml": _DATASET,
}
"""`dataset.toml` is given by `DATASET_COMMAND`; every other file is converted itself."""

DATASET_COMMAND = (
    "accelerate launch --num_processes=2 sdxl_train_network.py --pretrained_model_name_or_path=/m.safetensors "
    "--network_module=networks.lora --output_name=it --prior_loss_weight=0.5 --dataset_config=dataset.toml"
)
