"""Flags about the length, batch and precision of a training, and what it saves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath

from sweeplora.convert.entries import Entry, aside, became, missing, no_effect
from sweeplora.convert.groups.network import limits_norms
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_SAVED = {None: "fp32", "float": "fp32", "fp16": "fp16", "bf16": "bf16"}
_BACKENDS = ("inductor", "cudagraphs", "aot_eager", "eager")
_STATE = re.compile(r"(.+?)(?:-step\d{8}|-\d{6})?-state")
"""The folder of a state: `<name>-000003-state`, `<name>-step00000100-state`, `<name>-state`."""

_RATIO = "a share of the epochs, and the command does not say how many there are; give --save_every_n_epochs"


def entries(given: Given) -> list[Entry]:
    """The group `train`, name and seed; the batch is in `data`, since a dataset's file may set it."""
    return [
        Entry("", "default", "train", "full"),
        *_name(given),
        *_length(given),
        *_precision(given),
        *_steps(given),
        *_saving(given),
    ]


def _name(given: Given) -> list[Entry]:
    if "output_name" in given and not given["output_name"].strip():
        raise UserError("--output_name", "", "an empty name loses files in sd-scripts; give one")
    entries = [
        given.taken("output_name", "name", given["output_name"] or "last", "files are named <name>-000003.safetensors")
    ]
    if "output_dir" in given:
        note = "weights lie in single/<name>/weights below it, the record and caches beside; see it with "
        entries.append(became("--output_dir", "runs", given["output_dir"], f"{note}`ui runs={given['output_dir']}`"))
    seed = given["seed"]
    note = "" if "seed" in given else "without one sd-scripts draws one at random; here every run has a fixed one"
    return [*entries, given.taken("seed", "seed", 0 if seed is None else seed, note)]


def _length(given: Given) -> list[Entry]:
    epochs, steps = given["max_train_epochs"], given["max_train_steps"]
    if epochs is None:
        return [
            Entry("--max_train_epochs", "default", "train.epochs"),
            given.taken("max_train_steps", "train.steps", steps),
        ]
    entries = [
        became("--max_train_epochs", "train.epochs", epochs),
        Entry("--max_train_steps", "default", "train.steps"),
    ]
    if "max_train_steps" in given:
        entries.append(no_effect("--max_train_steps", "--max_train_epochs overrides it"))
    return entries


def _precision(given: Given) -> list[Entry]:
    mixed, entries = given["mixed_precision"], []
    own = "fp32"
    for flag, precision in (("full_fp16", "fp16"), ("full_bf16", "bf16")):
        if flag in given:
            if mixed != precision:
                raise UserError(f"--{flag}", True, f"needs --mixed_precision {precision}, in sd-scripts too")
            own = precision
            entries.append(became(f"--{flag}", "train.network_precision", precision))
    if not entries:
        entries.append(Entry("--full_bf16", "default", "train.network_precision", own))
    saved = _SAVED[given["save_precision"]] if "save_precision" in given else own
    note = "" if "save_precision" in given else "not given: the precision that the network trains in"
    return [
        given.taken("mixed_precision", "train.mixed_precision", mixed),
        *entries,
        given.taken("save_precision", "train.save_precision", saved, note),
    ]


def _steps(given: Given) -> list[Entry]:
    entries = [
        given.taken("gradient_accumulation_steps", "train.accumulation", given["gradient_accumulation_steps"]),
        given.taken("max_grad_norm", "train.max_grad_norm", given["max_grad_norm"]),
        given.taken("gradient_checkpointing", "train.gradient_checkpointing", given["gradient_checkpointing"]),
        given.taken("min_timestep", "train.min_timestep", given["min_timestep"] or 0),
        given.taken(
            "max_timestep", "train.max_timestep", 1000 if given["max_timestep"] is None else given["max_timestep"]
        ),
    ]
    if given["scale_weight_norms"] and not limits_norms(given):
        entries.append(no_effect("--scale_weight_norms", "it limits LoRA, LoHa, LoKr and OFT only, as in sd-scripts"))
    else:
        entries += given.unless_zero("scale_weight_norms", "train.max_weight_norm", "0 limits nothing")
    if "lowram" in given:
        entries.append(became("--lowram", "train.lowram", True))
    return [*entries, *_compiled(given)]


def _compiled(given: Given) -> list[Entry]:
    backend = given["dynamo_backend"]
    named = "dynamo_backend" in given
    if "torch_compile" not in given:
        return [no_effect("--dynamo_backend", "only --torch_compile reads it")] if named else []
    if backend == "no":
        return [
            no_effect(f"--{name}", "the backend `no` compiles nothing") for name in ("torch_compile", "dynamo_backend")
        ]
    if backend not in _BACKENDS:
        note = f"the backend {backend} is not offered; the U-Net is not compiled, which changes the time alone"
        return [aside(f"--{name}", note) for name in ("torch_compile", "dynamo_backend")]
    entries = [became("--torch_compile", "train.compile", backend)]
    return [*entries, became("--dynamo_backend", "train.compile", backend)] if named else entries


def _saving(given: Given) -> list[Entry]:
    entries = [
        *_every_epochs(given),
        given.taken("save_every_n_steps", "train.save_every_steps", given["save_every_n_steps"] or 0),
        *_kept(given, "epochs"),
        *_kept(given, "steps"),
    ]
    saved = given["save_model_as"]
    note = "a .pt file is the same pickle" if saved == "pt" else ""
    entries.append(given.taken("save_model_as", "train.save_as", "ckpt" if saved == "pt" else saved, note))
    return [*entries, *_states(given), *_resumed(given)]


def _states(given: Given) -> list[Entry]:
    """sd-scripts keeps a folder for each state; here there is one file, replaced by the next."""
    entries = []
    for flag in ("save_state", "save_state_on_train_end"):
        if flag in given:
            note = "only the newest state is kept; `sweeplora continue` resumes from it"
            entries.append(became(f"--{flag}", "train.keep_state", True, note))
    if "save_state" in given and given["save_every_n_steps"]:
        entries.append(became("--save_state", "train.checkpoint_every_steps", given["save_every_n_steps"]))
    for flag in ("save_last_n_epochs_state", "save_last_n_steps_state"):
        if flag in given:
            entries.append(no_effect(f"--{flag}", "only the newest state is kept"))
    return entries


def _resumed(given: Given) -> list[Entry]:
    """sd-scripts' own states are pickles; the one named is that of the training that the one before converts to."""
    entries = []
    if "resume" in given:
        folder = (PureWindowsPath if "\\" in given["resume"] else PurePosixPath)(given["resume"])
        name = _STATE.fullmatch(folder.name)
        if name is None and folder.suffix != ".safetensors":
            note = "not a folder that --save_state makes; `sweeplora continue RUN` goes on with a run of sweeplora"
            return [missing("--resume", note), *_placed(given, missing)]
        file = folder if name is None else folder.parent / "single" / name[1] / "checkpoints" / "state.safetensors"
        note = (
            "the state of the converted training of that name; sd-scripts' own is a pickle and is not read. A search "
            "around these settings begins at the first step"
        )
        entries.append(became("--resume", "train.resume", str(file), note))
        return [*entries, *_placed(given, no_effect)]
    return _placed(given, missing)


def _placed(given: Given, fate: Callable[[str, str], Entry]) -> list[Entry]:
    note = "the state says its step" if fate is no_effect else "a training starts at its first step or at its state's"
    flags = ("initial_epoch", "initial_step", "skip_until_initial_step")
    return [fate(f"--{flag}", note) for flag in flags if flag in given]


def _every_epochs(given: Given) -> list[Entry]:
    every, ratio, epochs = given["save_every_n_epochs"], given["save_n_epoch_ratio"], given["max_train_epochs"]
    if not ratio or ratio < 1:
        unused = [no_effect("--save_n_epoch_ratio", "0 saves nothing")] if "save_n_epoch_ratio" in given else []
        return [given.taken("save_every_n_epochs", "train.save_every_epochs", every or 0), *unused]
    named = "save_every_n_epochs" in given
    overruled = [no_effect("--save_every_n_epochs", "--save_n_epoch_ratio overrides it")] if named else []
    if epochs is None:
        return [aside("--save_n_epoch_ratio", _RATIO), Entry("", "default", "train.save_every_epochs", 0), *overruled]
    return [became("--save_n_epoch_ratio", "train.save_every_epochs", epochs // ratio or 1), *overruled]


def _kept(given: Given, unit: str) -> list[Entry]:
    flag = f"save_last_n_{unit}"
    if not given[flag]:
        return [no_effect(f"--{flag}", "0 keeps all")] if flag in given else []
    if not given[f"save_every_n_{unit}"] and not (unit == "epochs" and given["save_n_epoch_ratio"]):
        return [no_effect(f"--{flag}", f"nothing is saved every few {unit}")]
    return [became(f"--{flag}", f"train.save_last_{unit}", given[flag])]
