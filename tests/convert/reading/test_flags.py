"""Every flag of sd-scripts' parsers is known as it is there, and none is without a fate."""

from __future__ import annotations

import contextlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from sweeplora.convert.reading.flags import FLAGS, ONLY_SDXL, Flag
from sweeplora.errors import UserError
from tests.convert.commands import converted, fate

_FILE = Path(__file__).resolve().parents[2] / "expected" / "sd_scripts_flags.json"
_EXPECTED: dict[str, Any] = json.loads(_FILE.read_text())
_WORTH = {
    "base_weights": "/a.safetensors",
    "config_file": "",
    "dataset_config": "",
    "dim_from_weights": "--network_weights=/w.safetensors --dim_from_weights",
    "face_crop_aug_range": "1.0,2.0",
    "full_bf16": "--mixed_precision=bf16 --full_bf16",
    "full_fp16": "--mixed_precision=fp16 --full_fp16",
    "fp8_base": "--mixed_precision=bf16 --fp8_base",
    "fp8_base_unet": "--mixed_precision=bf16 --fp8_base_unet",
    "log_with": "--log_with=tensorboard --logging_dir=logs",
    "lr_scheduler": "linear",
    "lr_scheduler_args": "--lr_scheduler=cosine --lr_scheduler_args num_cycles=0.25",
    "lr_scheduler_type": "StepLR",
    "lr_warmup_steps": "--lr_scheduler=linear --lr_warmup_steps=10",
    "network_args": "algo=locon",
    "network_module": "networks.lora",
    "optimizer_args": "weight_decay=0.1",
    "optimizer_type": "AdamW",
    "resolution": "512",
    "sample_at_first": "--sample_prompts=p.txt --sample_at_first",
    "sample_every_n_epochs": "--sample_prompts=p.txt --sample_every_n_epochs=1",
    "sample_every_n_steps": "--sample_prompts=p.txt --sample_every_n_steps=1",
    "scale_v_pred_loss_like_noise_pred": "--v_parameterization --scale_v_pred_loss_like_noise_pred",
    "adaptive_noise_scale": "--noise_offset=0.1 --adaptive_noise_scale=0.1",
}
_REFUSED = {"v2", "dataset_class", "output_config"}
"""Flags that stop the conversion by name."""
_READ = {"config_file", "dataset_config", "in_json"}
"""Flags of files, which tests of their own give."""


def _given(name: str, flag: Flag) -> str:
    if name in _WORTH and _WORTH[name].startswith("--"):
        return _WORTH[name]
    worth = {
        "switch": "",
        "whole": "2",
        "number": "0.5",
        "count": "0.5",
        "text": "text",
        "texts": "a=1",
        "numbers": "0.5",
    }
    value = _WORTH.get(name) or str(flag.choices[-1] if flag.choices else worth[flag.kind])
    return f"--{name} {shlex.quote(value)}" if value else f"--{name}"


def test_the_table_of_flags_is_what_the_parsers_have() -> None:
    ours = {name: [flag.kind, flag.default, list(flag.choices)] for name, flag in FLAGS.items()}
    assert len(ours) == 196
    assert ours == _EXPECTED["flags"]
    assert sorted(ONLY_SDXL) == _EXPECTED["only_sdxl"]


@pytest.mark.parametrize("script", ["sdxl_train_network.py", "train_network.py"])
@pytest.mark.parametrize("name", sorted(set(FLAGS) - _REFUSED - _READ))
def test_each_flag_has_a_fate(name: str, script: str) -> None:
    if script == "train_network.py" and name in ONLY_SDXL:
        assert "unknown" in {
            entry.fate for entry in converted(f"--{name}", script).entries if entry.flag == f"--{name}"
        }
        return
    told = [
        entry
        for entry in converted(_given(name, FLAGS[name]), script).entries
        if entry.flag.partition(" ")[0] == f"--{name}"
    ]
    assert told, name
    assert all(entry.key or entry.note for entry in told)
    assert not {entry.fate for entry in told} & {"unknown"}


@pytest.mark.parametrize("name", sorted(_REFUSED))
def test_what_cannot_be_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match=f"--{name}="):
        converted(_given(name, FLAGS[name]))


@pytest.mark.parametrize("module", ["lycoris.kohya", "networks.lora", "networks.dylora"])
@pytest.mark.parametrize("nothing", ["0", ""])
def test_every_flag_with_nothing_in_it_has_a_fate_or_is_refused(nothing: str, module: str) -> None:
    for name in (name for name, flag in FLAGS.items() if flag.kind != "switch"):
        with contextlib.suppress(UserError):
            assert fate(converted(f"--network_module={module} --{name}='{nothing}'"), f"--{name}"), name
