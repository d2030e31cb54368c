"""Flags that become no key, each with the reason: without effect on sweeplora's results, or not supported."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, aside, no_effect
from sweeplora.convert.reading.given import Given

_METADATA = "sweeplora writes the file's metadata itself, without this text"
_UPLOAD = "nothing is uploaded; the files stay on this machine and in MLflow's store"
_DEEPSPEED = "DeepSpeed is not supported; every process holds the whole model and network"
_PRINTED = "everything printed is in the run's log.txt"
_STARTED = "sweeplora sets up the communication between processes itself"
_WANDB = "Weights & Biases is not supported; MLflow keeps the record"

NO_USE = {
    "config_file": "read; its flags are listed one by one",
    "tokenizer_cache_dir": "CLIP's vocabulary comes with sweeplora; nothing is downloaded",
    "skip_cache_check": "cached latents and texts are found by their content",
    "debug_dataset": "shows images instead of training; leave it out",
    "persistent_data_loader_workers": "sweeplora prepares batches in threads, which persist",
    "highvram": "it only keeps sd-scripts from emptying the device's cache",
    "disable_mmap_load_safetensors": "only changes how fast a file is read",
    "ddp_gradient_as_bucket_view": _STARTED,
    "ddp_static_graph": _STARTED,
    "ddp_timeout": _STARTED,
    "log_config": "the whole configuration is in every run's folder",
    "console_log_simple": "only changes how lines are printed",
    "zero_stage": "there is no --deepspeed",
    "offload_optimizer_device": "there is no --deepspeed",
    "offload_optimizer_nvme_path": "there is no --deepspeed",
    "offload_param_device": "there is no --deepspeed",
    "offload_param_nvme_path": "there is no --deepspeed",
    "zero3_init_flag": "there is no --deepspeed",
    "zero3_save_16bit_model": "there is no --deepspeed",
    "fp16_master_weights_and_gradients": "there is no --deepspeed",
    "huggingface_repo_type": "there is no --huggingface_repo_id",
    "huggingface_path_in_repo": "there is no --huggingface_repo_id",
    "huggingface_token": "there is no --huggingface_repo_id",
    "huggingface_repo_visibility": "there is no --huggingface_repo_id",
    "async_upload": "there is no --huggingface_repo_id",
}
"""Nothing that is learned or written depends on them. Those about DeepSpeed and uploads: see `others`."""

NOT_HERE = {
    "metadata_title": _METADATA,
    "metadata_author": _METADATA,
    "metadata_description": _METADATA,
    "metadata_license": _METADATA,
    "metadata_tags": _METADATA,
    "metadata_usage_hint": _METADATA,
    "metadata_thumbnail": _METADATA,
    "metadata_merged_from": _METADATA,
    "metadata_trigger_phrase": _METADATA,
    "metadata_preprocessor": _METADATA,
    "metadata_is_negative_embedding": _METADATA,
    "training_comment": _METADATA,
    "no_metadata": "files always have metadata, by which programs tell SDXL from SD 1.5",
    "huggingface_repo_id": _UPLOAD,
    "save_state_to_huggingface": _UPLOAD,
    "resume_from_huggingface": "a training is not resumed from a hub",
    "deepspeed": _DEEPSPEED,
    "cpu_offload_checkpointing": "not supported; it saves memory and changes nothing else",
    "console_log_level": _PRINTED,
    "console_log_file": _PRINTED,
    "log_tracker_name": _WANDB,
    "wandb_run_name": _WANDB,
    "log_tracker_config": _WANDB,
    "wandb_api_key": _WANDB,
}
"""Not supported, and what is learned does not depend on them."""


def entries(given: Given) -> list[Entry]:
    """The entries of those of these flags that were given. They never contain a secret's value."""
    whys = dict(NO_USE)
    for leader, why in (("deepspeed", _DEEPSPEED), ("huggingface_repo_id", _UPLOAD)):
        if leader in given:
            whys |= {name: why for name in NO_USE if NO_USE[name] == f"there is no --{leader}"}
    return [
        *(no_effect(f"--{name}", why) for name, why in whys.items() if name in given),
        *(aside(f"--{name}", why) for name, why in NOT_HERE.items() if name in given),
    ]
