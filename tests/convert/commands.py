"""Commands that tests convert, and a short way to convert one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sweeplora.convert.conversion import Conversion, convert
from sweeplora.convert.entries import settings
from sweeplora.convert.reading.launch import find, settle
from sweeplora.convert.scripts.source import read
from sweeplora.convert.scripts.text import Script

NETWORK = "--network_module=lycoris.kohya"
LEAST = "--pretrained_model_name_or_path=/m.safetensors --train_data_dir=/d --resolution=1024 --output_name=it"


def converted(flags: str, script: str = "sdxl_train_network.py", launcher: str = "accelerate launch") -> Conversion:
    """A least command with these flags in addition, a network among them unless they name one."""
    network = "" if "--network_module" in flags else NETWORK
    return of_text(f"{launcher} {script} {LEAST} {network} {flags}")


def of_text(text: str) -> Conversion:
    """The one training of a text."""
    reading = read(Script(text, "text"))
    (training,) = find(reading)
    return convert(settle(training, reading.script))


def keys(flags: str, script: str = "sdxl_train_network.py", launcher: str = "accelerate launch") -> dict[str, Any]:
    """Keys and values that the flags give."""
    return settings(converted(flags, script, launcher).entries)


def fate(conversion: Conversion, flag: str) -> set[str]:
    """What became of a flag."""
    return {entry.fate for entry in conversion.entries if entry.flag == flag}


def guide_sdxl(model: Path, pictures: Path, prompts: Path, blocks: int = 23) -> str:
    """The guide's SDXL command as a script; `blocks` numbers are given for the blocks."""
    dims = ",".join(["4"] * blocks)
    return f"""#!/bin/bash
# trains a style
export MODEL="{model}"
NAME=style
accelerate launch --num_cpu_threads_per_process 1 --mixed_precision=no sdxl_train_network.py \\
  --pretrained_model_name_or_path="$MODEL" \\
  --train_data_dir='{pictures}' --resolution="64,64" --caption_extension=.txt \\
  --enable_bucket --min_bucket_reso=32 --max_bucket_reso=128 --bucket_reso_steps=16 \\
  --output_name="${{NAME}}_v1" --save_model_as=safetensors --save_precision=fp16 --save_every_n_epochs=1 \\
  --network_module=lycoris.kohya --network_dim=4 --network_alpha=2 --network_train_unet_only \\
  --network_args "algo=locon" "preset=full" "conv_dim=4" "conv_alpha=1" \\
    "block_dims={dims}" "block_alphas={dims}" \\
  --multires_noise_iterations=6 --multires_noise_discount=0.3 --scale_weight_norms=1 \\
  --cache_latents --cache_latents_to_disk --gradient_accumulation_steps=6 \\
  --shuffle_caption --keep_tokens=1 --optimizer_type=AdamW --learning_rate=1e-3 --lr_scheduler=constant \\
  --max_train_epochs=1 --sdpa --seed=42 --max_data_loader_n_workers=1 --persistent_data_loader_workers \\
  --sample_prompts="{prompts}" --sample_sampler=euler_a --sample_every_n_steps=100
"""


def noob(model: Path, dataset: Path) -> str:
    """The NoobAI command, its images described by a file."""
    return (
        f"accelerate launch --num_processes=1 sdxl_train_network.py --pretrained_model_name_or_path={model} "
        f"--dataset_config={dataset} --output_name=noob --v_parameterization --zero_terminal_snr "
        "--debiased_estimation_loss --max_token_length=225 --flip_aug --shuffle_caption "
        '--keep_tokens_separator="|||" --network_module=lycoris.kohya --network_dim=100000 --network_alpha=1 '
        "--network_args algo=lokr factor=16 dora_wd=True preset=full --optimizer_type my_optim.LodeW "
        '--optimizer_args weight_decay=0.1 "betas=(0.9, 0.99)" --learning_rate=1e-3 --text_encoder_lr=1e-4 '
        "--lr_scheduler=cosine --lr_scheduler_args num_cycles=0.375 --lr_warmup_steps=0.1 --max_train_steps=3"
    )
