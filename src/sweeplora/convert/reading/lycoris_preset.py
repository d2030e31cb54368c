"""A LyCORIS preset file, as the named preset that selects the same layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.convert.reading.files import Files
from sweeplora.convert.reading.toml_file import toml
from sweeplora.errors import UserError

_BLOCKS = frozenset(("Transformer2DModel", "ResnetBlock2D", "Downsample2D", "Upsample2D"))
_OUTER = frozenset(("conv_in", "conv_out", "time_embedding.linear_1", "time_embedding.linear_2"))
_TIME = frozenset(("time_embedding.linear_1", "time_embedding.linear_2"))
_ENCODER = frozenset(("CLIPAttention", "CLIPMLP"))
_NONE: frozenset[str] = frozenset()
_TRANSFORMERS = frozenset(("Transformer2DModel",))

_PRESETS: dict[tuple[bool, frozenset[str], frozenset[str], frozenset[str]], str] = {
    (True, _BLOCKS, _OUTER, _ENCODER): "full",
    (True, _BLOCKS, _NONE, _ENCODER): "blocks",
    (False, frozenset(("Transformer2DModel", "ResnetBlock2D")), _TIME, _ENCODER): "full-lin",
    (False, _TRANSFORMERS, _NONE, _ENCODER): "attn-mlp",
    (True, _BLOCKS, _OUTER, _NONE): "unet-only",
    (False, _TRANSFORMERS, _NONE, _NONE): "unet-transformer-only",
    (True, _BLOCKS - _TRANSFORMERS, frozenset(("conv_in", "conv_out")), _NONE): "unet-convblock-only",
}
"""Convolutions, modules and names of the U-Net, modules of the text encoders -> preset."""
_BY_LAYER = ("module_algo_map", "name_algo_map", "exclude_name")
_KNOWN = (
    *("enable_conv", "target_module", "target_name", "unet_target_module", "unet_target_name", "use_fnmatch"),
    *("text_encoder_target_module", "text_encoder_target_name", *_BY_LAYER),
)


def preset_of(path: str, files: Files) -> str:
    """The preset that selects a file's layers. Raises UserError if there is none, naming the key that differs."""
    key = "--network_args preset"
    content = toml(files.read(path, key), key, path)
    for name in content:
        if name not in _KNOWN:
            raise UserError(key, path, f"{name} is no key of a LyCORIS preset")
    for name in _BY_LAYER:
        if content.get(name):
            mend = f"its {name} treats some layers otherwise, which is not supported; choose one of the presets"
            raise UserError(key, path, mend)
    unet = _names(content, "unet_target_module", "target_module")
    encoder = _names(content, "text_encoder_target_module") - {"CLIPSdpaAttention", "CLIPEncoderLayer"}
    if "CLIPEncoderLayer" in _names(content, "text_encoder_target_module"):
        encoder |= _ENCODER
    outer = _names(content, "unet_target_name", "target_name")
    conv = bool(content.get("enable_conv", True)) and bool(unet & (_BLOCKS - _TRANSFORMERS) or outer)
    preset = _PRESETS.get((conv, unet, outer, frozenset(encoder)))
    if preset is None or content.get("text_encoder_target_name"):
        shown = ", ".join(sorted(unet | outer | encoder)) or "nothing"
        mend = f"selects {shown}; no preset here selects exactly these: {', '.join(dict.fromkeys(_PRESETS.values()))}"
        raise UserError(key, path, mend)
    return preset


def _names(content: Mapping[str, Any], *keys: str) -> frozenset[str]:
    found: set[str] = set()
    for key in keys:
        value = content.get(key, [])
        if not isinstance(value, list):
            raise UserError("--network_args preset", f"{key} = {value}", "must be a list of names")
        found |= {str(one) for one in value}
    return frozenset(found)
