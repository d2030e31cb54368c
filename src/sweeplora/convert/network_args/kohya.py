"""Arguments of sd-scripts' own network modules, `networks.lora` and `networks.dylora`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.config.nearest import nearest
from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.network_args.blocks import RANKS, RATES, flat, ranks, rate_entries
from sweeplora.convert.network_args.rank import rank_of
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_READ = {
    "networks.lora": ("conv_dim", "conv_alpha", "rank_dropout", "module_dropout", *RANKS, *RATES, *_PLUS),
    "networks.dylora": ("conv_dim", "conv_alpha", "unit", *_PLUS),
}


def kohya(given: Given, said: Mapping[str, str]) -> list[Entry]:
    """What `networks.lora` or `networks.dylora` would build for a command: the selected layers and their ranks."""
    module = given["network_module"]
    dim = rank_of(given)
    lora = module == "networks.lora"
    kernels = "conv_dim" in said or (lora and "conv_block_dims" in said)
    entries = [
        Entry("--network_module", "became", "network", "locon" if lora else "dylora"),
        Entry("--network_module", "became", "network.preset", "blocks" if kernels else "attn-mlp", _layers(kernels)),
        given.taken("network_dim", "network.dim", dim),
        given.taken("network_alpha", "network.alpha", given["network_alpha"] or float(dim)),
        *(_number(said, name, int, "network.conv_dim") for name in ("conv_dim",) if name in said),
        *_conv_alpha(said, kernels),
        *_unread(module, said),
    ]
    if lora:
        return [*entries, *_lora(given, said, dim)]
    block = _number(said, "unit", int, "network.block_size")
    dropped = [no_effect("--network_dropout", "networks.dylora does not read it")] if "network_dropout" in given else []
    return [*entries, block if "unit" in said else block._replace(fate="default"), *dropped]


def _layers(kernels: bool) -> str:
    return "its layers with conv_dim" if kernels else "its layers without conv_dim"


def _conv_alpha(said: Mapping[str, str], kernels: bool) -> list[Entry]:
    if not kernels:
        return [no_effect("--network_args conv_alpha", "there is no conv_dim")] if "conv_alpha" in said else []
    if "conv_alpha" in said:
        return [_number(said, "conv_alpha", float, "network.conv_alpha")]
    return [Entry("--network_args conv_alpha", "default", "network.conv_alpha", 1.0)]


def _lora(given: Given, said: Mapping[str, str], dim: int) -> list[Entry]:
    entries = given.unless_zero("network_dropout", "network.dropout", "0 drops nothing")
    for name in ("rank_dropout", "module_dropout"):
        if name in said:
            entries.append(_number(said, name, float, f"network.{name}"))
    blocks = ranks(given.family, said)
    by_block = "block_dims" in said or any(name in said for name in RATES[:3])
    note = "" if by_block else "sd-scripts uses it only with block_dims or rates by block; sweeplora always does"
    entries += [became(f"--network_args {name}", f"network.{name}", values, note) for name, values in blocks.items()]
    dims: dict[str, list[Any]] = {"block_dims": list(blocks.get("block_dims", flat(given.family, dim)))}
    if "conv_block_dims" in blocks:
        dims["conv_block_dims"] = list(blocks["conv_block_dims"])
    elif "conv_dim" in said:
        dims["conv_block_dims"] = flat(given.family, int(said["conv_dim"]))
    return [*entries, *rate_entries(given.family, said, dims)]


def _number(said: Mapping[str, str], name: str, number: type[int] | type[float], key: str) -> Entry:
    text = said.get(name, "1")
    try:
        return became(f"--network_args {name}", key, number(text))
    except ValueError as error:
        raise UserError(f"--network_args {name}", text, "give a number") from error


def _unread(module: str, said: Mapping[str, str]) -> list[Entry]:
    read = _READ[module]
    note = f"{module} has no such argument and ignores it"
    return [no_effect(f"--network_args {name}", f"{note}; {nearest(name, read)}") for name in said if name not in read]
