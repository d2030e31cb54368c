"""The settings file of kohya_ss' GUI, as the command that its button starts; recognises other such files."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from sweeplora.convert.entries import Entry, aside, no_effect
from sweeplora.convert.reading.flags import FLAGS
from sweeplora.convert.scripts.reading import Reading
from sweeplora.convert.scripts.text import Script, ScriptCommand, Text
from sweeplora.errors import UserError

_OWN = ("LoRA_type", "max_resolution", "lr_warmup", "LyCORIS_preset", "noise_offset_type", "stop_text_encoder_training")
"""Keys that only the GUI's own file has."""
_RENAMED = {"max_resolution": "resolution", "optimizer": "optimizer_type", "lora_network_weights": "network_weights"}
_LYCORIS = {
    "LyCORIS/LoCon": "locon",
    "LyCORIS/LoHa": "loha",
    "LyCORIS/LoKr": "lokr",
    "LyCORIS/DyLoRA": "dylora",
    "LyCORIS/iA3": "ia3",
    "LyCORIS/Diag-OFT": "diag-oft",
    "LyCORIS/BOFT": "boft",
    "LyCORIS/GLoRA": "glora",
    "LyCORIS/Native Fine-Tuning": "full",
}
_OF_LYCORIS = (
    *("conv_dim", "conv_alpha", "rank_dropout", "module_dropout", "use_tucker", "use_cp", "use_scalar", "factor"),
    *("rank_dropout_scale", "train_norm", "decompose_both", "full_matrix", "dora_wd", "bypass_mode", "rescaled"),
)
_OF_KOHYA = (
    *("down_lr_weight", "mid_lr_weight", "up_lr_weight", "block_lr_zero_threshold", "block_dims", "block_alphas"),
    *("conv_block_dims", "conv_block_alphas", "rank_dropout", "module_dropout"),
)
_FOR_LAUNCHER = ("num_processes", "num_machines", "num_cpu_threads_per_process", "gpu_ids", "main_process_port")
_ELSEWHERE = (
    *_OWN,
    *_OF_LYCORIS,
    *_OF_KOHYA,
    *_FOR_LAUNCHER,
    *("sdxl", "epoch", "xformers", "optimizer_args", "lr_scheduler_args", "additional_parameters", "multi_gpu", "unit"),
    *("constrain", "noise_offset", "adaptive_noise_scale", "multires_noise_iterations", "multires_noise_discount"),
    *("text_encoder_lr", "unet_lr", "max_train_epochs", "max_train_steps", "sample_prompts", "max_token_length"),
    *("sdxl_no_half_vae", "sdxl_cache_text_encoder_outputs", "use_wandb", "max_timestep", "lr_warmup_steps"),
)
_EXTRA = {
    "dylora": ("block_size", "unit"),
    "diag-oft": ("constraint", "constrain"),
    "boft": ("constraint", "constrain"),
}
"""Arguments that the GUI calls otherwise, by algorithm."""
_OF_SDXL = {"sdxl_no_half_vae": "no_half_vae", "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs"}
_OFFSET = ("noise_offset", "adaptive_noise_scale")
_MULTIRES = ("multires_noise_iterations", "multires_noise_discount")
_OTHER_MODELS = ("flux1_checkbox", "sd3_checkbox", "v2", "lumina_checkbox")
_PROMPTS = "the GUI keeps the prompts' text; save it as a file and give sample.prompts=FILE and when to draw"
_ONLY_GUI = "only the GUI reads it"


def settings_file(script: Script, suffix: str) -> Reading:
    """The training that a settings file describes. For any other file, raises UserError that says what it is."""
    content = _content(script, suffix)
    if "network_module" not in content and any(key in content for key in _OWN):
        return _of_gui(script, content)
    flat = {key: value for one in content.values() if isinstance(one, dict) for key, value in one.items()} | content
    if "datasets" in content:
        mend = "is a --dataset_config; give the command that names it, or: convert -- sdxl_train_network.py "
        raise UserError("convert", script.name, f"{mend}--dataset_config={script.name} ...")
    if len(set(flat) & set(FLAGS)) < 3:
        mend = "is not a settings file of sd-scripts or kohya_ss; give the command that uses it"
        raise UserError("convert", script.name, mend)
    return _of_flags(script, flat, suffix)


def _content(script: Script, suffix: str) -> dict[str, Any]:
    try:
        content = json.loads(script.text) if suffix != ".toml" else tomllib.loads(script.text)
    except (ValueError, RecursionError) as error:
        kind = "TOML" if suffix == ".toml" else "JSON"
        raise UserError("convert", script.name, f"not {kind}: {error}") from error
    if not isinstance(content, dict):
        raise UserError("convert", script.name, "is not a settings file; give a script or a command")
    return content


def _of_flags(script: Script, flat: Mapping[str, Any], suffix: str) -> Reading:
    """A `--config_file` of sd-scripts, if it says which script it is for."""
    kind = str(flat.get("model_train_type", ""))
    family = {"sdxl-lora": "sdxl_train_network.py", "sd-lora": "train_network.py"}.get(kind, "")
    if isinstance(flat.get("sdxl"), bool):
        family = "sdxl_train_network.py" if flat["sdxl"] else "train_network.py"
    path = str(script.file) if script.file is not None else script.name
    if not family or suffix != ".toml":
        mend = "holds sd-scripts' flags and does not say for which script; type: convert -- sdxl_train_network.py "
        if suffix != ".toml":
            mend = "holds sd-scripts' flags as JSON, which it does not read; save it as TOML and type: convert -- "
        raise UserError("convert", script.name, f"{mend}--config_file={path} (or train_network.py, for SD 1.5)")
    words = tuple(Text(word) for word in ("accelerate", "launch", family, f"--config_file={path}"))
    return Reading(script, [ScriptCommand(words, 1)])


def _of_gui(script: Script, content: Mapping[str, Any]) -> Reading:
    for key in _OTHER_MODELS:
        if content.get(key) is True:
            raise UserError(key, True, "only SDXL and Stable Diffusion 1.5 can be converted")
    remarks: list[Entry] = []
    content = {"sdxl": False, **content}
    if not isinstance(content["sdxl"], bool):
        raise UserError("sdxl", content["sdxl"], "write true or false")
    trainer = "sdxl_train_network.py" if content["sdxl"] else "train_network.py"
    remarks.append(no_effect("sdxl", f"the GUI starts {trainer} with it; without it train_network.py, for SD 1.5"))
    flags = [*_plain(content, remarks), *_special(content, remarks), *_network(content)]
    words = ("accelerate", "launch", *_launcher(content), trainer, *flags)
    return Reading(script, [ScriptCommand(tuple(Text(word) for word in words), 1)], remarks=remarks)


def _given(content: Mapping[str, Any], key: str) -> str:
    """A value as a word; empty if the field is empty or 0, for which the GUI passes no flag."""
    value = content.get(key)
    if value is None or isinstance(value, bool | list | dict):
        return ""
    text = str(value).strip()
    return "" if re.fullmatch(r"-?0*\.?0*", text) else text


def _plain(content: Mapping[str, Any], remarks: list[Entry]) -> Iterator[str]:
    """Flags that take the GUI's value unchanged."""
    for key, value in content.items():
        name = _RENAMED.get(key, key)
        if key in _ELSEWHERE and key not in _RENAMED:
            continue
        if name not in FLAGS:
            remarks.append(no_effect(key, _ONLY_GUI))
        elif FLAGS[name].kind == "switch":
            if value is True:
                yield f"--{name}"
        elif (text := _given(content, key)) and (name, text) != ("dynamo_backend", "no"):
            kind = FLAGS[name].kind
            yield f"--{name}={_whole(text) if kind in ('whole', 'count') else text}"


def _whole(text: str) -> str:
    return text.removesuffix(".0")


def _special(content: Mapping[str, Any], remarks: list[Entry]) -> Iterator[str]:
    """Flags that the GUI derives from several fields or from other values."""
    yield from _length(content)
    yield from _rates(content)
    yield from _noise(content)
    attention = content.get("xformers")
    if attention is True or attention in ("xformers", "sdpa"):
        yield "--sdpa" if attention == "sdpa" else "--xformers"
    if content["sdxl"]:
        yield from (f"--{flag}" for key, flag in _OF_SDXL.items() if content.get(key) is True)
    if (length := _whole(_given(content, "max_token_length"))) not in ("", "75"):
        yield f"--max_token_length={'225' if length == '255' else length}"
    if (most := _whole(_given(content, "max_timestep"))) not in ("", "1000"):
        yield f"--max_timestep={most}"
    if content.get("use_wandb") is True:
        yield "--log_with=wandb"
    if str(content.get("sample_prompts") or "").strip():
        remarks.append(aside("sample_prompts", _PROMPTS))
    for key in ("optimizer_args", "lr_scheduler_args"):
        if words := _words(content, key):
            yield from (f"--{key}", *words)
    yield from _words(content, "additional_parameters")


def _length(content: Mapping[str, Any]) -> Iterator[str]:
    epochs, steps = _given(content, "max_train_epochs"), _given(content, "max_train_steps")
    if epochs or not steps:
        yield f"--max_train_epochs={_whole(epochs or _given(content, 'epoch') or '1')}"
    else:
        yield f"--max_train_steps={_whole(steps)}"
    warmup = _given(content, "lr_warmup")
    if _given(content, "lr_warmup_steps"):
        yield f"--lr_warmup_steps={_whole(_given(content, 'lr_warmup_steps'))}"
    elif warmup and content.get("lr_scheduler") != "adafactor":
        yield f"--lr_warmup_steps={_share(warmup)}"


def _rates(content: Mapping[str, Any]) -> Iterator[str]:
    """A rate of 0 for one part, if the other has a rate, excludes that part."""
    rates = {key: _given(content, key) for key in ("text_encoder_lr", "unet_lr")}
    yield from (f"--{key}={rate}" for key, rate in rates.items() if rate)
    if rates["unet_lr"] and not rates["text_encoder_lr"]:
        yield "--network_train_unet_only"
    elif rates["text_encoder_lr"] and not rates["unet_lr"]:
        yield "--network_train_text_encoder_only"


def _noise(content: Mapping[str, Any]) -> Iterator[str]:
    """The noise flags; the GUI passes only one of two kinds of noise."""
    multires = content.get("noise_offset_type") == "Multires"
    names = _MULTIRES if multires else _OFFSET
    if _given(content, names[0]):
        yield from (f"--{key}={_whole(_given(content, key))}" for key in names if _given(content, key))


def _share(percent: str) -> str:
    try:
        return str(float(percent) / 100)
    except ValueError as error:
        raise UserError("lr_warmup", percent, "give a percentage of all steps") from error


def _words(content: Mapping[str, Any], key: str) -> list[str]:
    value = content.get(key)
    if isinstance(value, list):
        return [str(one) for one in value]
    try:
        return shlex.split(str(value or ""))
    except ValueError as error:
        raise UserError(key, value, "has a quotation mark that is never closed") from error


def _network(content: Mapping[str, Any]) -> list[str]:
    kind = content.get("LoRA_type", "Standard")
    if kind in _LYCORIS:
        algorithm = _LYCORIS[kind]
        arguments = [f"algo={algorithm}", f"preset={content.get('LyCORIS_preset') or 'full'}"]
        arguments += [f"{key}={text}" for key in _OF_LYCORIS if (text := _argument(content, key))]
        ours, field = _EXTRA.get(algorithm, ("", ""))
        if ours and (text := _argument(content, field)):
            arguments.append(f"{ours}={text}")
        return ["--network_module=lycoris.kohya", "--network_args", *arguments]
    modules = {"Standard": "lora", "Kohya LoCon": "lora", "LoCon": "lora", "Kohya DyLoRA": "dylora"}
    if kind not in modules:
        known = ", ".join([*modules, *_LYCORIS])
        raise UserError("LoRA_type", kind, f"is not supported; there are {known}")
    names = [*_OF_KOHYA] if modules[kind] == "lora" else ["unit"]
    names += [] if kind == "Standard" else ["conv_dim", "conv_alpha"]
    arguments = [f"{key}={text}" for key in names if (text := _argument(content, key))]
    return [f"--network_module=networks.{modules[kind]}", *(["--network_args", *arguments] if arguments else [])]


def _argument(content: Mapping[str, Any], key: str) -> str:
    return "True" if content.get(key) is True else _whole(_given(content, key))


def _launcher(content: Mapping[str, Any]) -> list[str]:
    given = [f"--{key}={_whole(text)}" for key in _FOR_LAUNCHER if (text := _given(content, key))]
    return [*given, "--multi_gpu"] if content.get("multi_gpu") is True else given
