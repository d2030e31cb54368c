"""Flags about the base model: which, its parts, its precision."""

from __future__ import annotations

from pathlib import PureWindowsPath

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_ATTENTION = {"mem_eff_attn": "sliced", "xformers": "xformers", "sdpa": "sdpa"}
"""In the order in which sd-scripts looks at them."""
_UNFIT = "sd-scripts only warns; sweeplora refuses it"


def entries(given: Given) -> list[Entry]:
    """The group `model`, from a command's flags. Raises UserError for what sd-scripts itself refuses."""
    if "v2" in given:
        raise UserError("--v2", True, "Stable Diffusion 2 is not supported; only SDXL and Stable Diffusion 1.5 are")
    path = given["pretrained_model_name_or_path"]
    if not path:
        raise UserError("--pretrained_model_name_or_path", "", "the command names no model")
    local = "sweeplora does not look models up on the hub; download it first" if _on_hub(path) else ""
    return [
        became("the script's name", "model", given.family),
        became("--pretrained_model_name_or_path", "model.path", path, local),
        *([became("--vae", "model.vae", given["vae"])] if "vae" in given else []),
        *_prediction(given),
        given.taken("max_token_length", "model.max_tokens", given["max_token_length"] or 75),
        *_clip_skip(given),
        *_attention(given),
        *_precision(given),
        *_merged(given),
    ]


def _on_hub(path: str) -> bool:
    is_path = path.startswith((".", "/", "~")) or "\\" in path or PureWindowsPath(path).drive != ""
    return path.count("/") == 1 and not is_path and not path.endswith((".safetensors", ".ckpt"))


def _prediction(given: Given) -> list[Entry]:
    v = given["v_parameterization"]
    note = "" if v or "zero_terminal_snr" not in given else f"wants --v_parameterization: {_UNFIT}"
    prediction = given.taken("v_parameterization", "model.prediction", "v_prediction" if v else "epsilon")
    if "zero_terminal_snr" not in given:
        return [prediction]
    return [prediction, became("--zero_terminal_snr", "model.zero_terminal_snr", True, note)]


def _clip_skip(given: Given) -> list[Entry]:
    if given.family == "sdxl":
        note = "SDXL always uses its encoders' second-to-last layer"
        return [no_effect("--clip_skip", note)] if "clip_skip" in given else []
    return [given.taken("clip_skip", "model.clip_skip", given["clip_skip"] or 1)]


def _attention(given: Given) -> list[Entry]:
    asked = [name for name in _ATTENTION if name in given]
    if not asked:
        return [
            Entry("--sdpa", "default", "model.attention", "sdpa", "the same numbers as without it, computed faster")
        ]
    first = became(f"--{asked[0]}", "model.attention", _ATTENTION[asked[0]])
    return [first, *(no_effect(f"--{name}", f"--{asked[0]} overrides it") for name in asked[1:])]


def _precision(given: Given) -> list[Entry]:
    mixed = given["mixed_precision"]
    if "no_half_vae" in given:
        entries = [became("--no_half_vae", "model.vae_precision", "fp32")]
    else:
        precision = "fp32" if mixed == "no" else mixed
        entries = [Entry("--no_half_vae", "default", "model.vae_precision", precision, "not given: as mixed_precision")]
    wanted = [name for name in ("fp8_base", "fp8_base_unet") if name in given]
    if wanted and mixed == "no":
        raise UserError(f"--{wanted[0]}", True, "needs --mixed_precision fp16 or bf16, in sd-scripts too")
    for name in wanted:
        note = "the U-Net; the text encoders stay in mixed_precision" if name == "fp8_base" else ""
        entries.append(became(f"--{name}", "model.base_precision", "fp8", note))
    return entries


def _merged(given: Given) -> list[Entry]:
    files, factors = given["base_weights"], given["base_weights_multiplier"]
    if not files:
        return [no_effect("--base_weights_multiplier", "there are no base_weights")] if factors else []
    filled = [*(factors or []), *[1.0] * len(files)][: len(files)]
    note = "padded with 1 to one number per file, as in sd-scripts" if len(factors or []) != len(files) else ""
    return [
        became("--base_weights", "model.base_weights", list(files)),
        given.taken("base_weights_multiplier", "model.base_weights_multiplier", filled, note),
    ]
