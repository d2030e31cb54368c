"""Arguments of `lycoris.kohya`: which it reads, how it uses them, and which it silently ignores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from sweeplora.config.nearest import nearest
from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.network_args.blocks import RANKS, RATES, flat, ranks
from sweeplora.convert.network_args.layers import bypass, dora, dropout, drops, value_of
from sweeplora.convert.network_args.rank import rank_of
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.trained_parts import trains_unet
from sweeplora.errors import UserError
from sweeplora.networks import algorithms
from sweeplora.networks.refusals import OF_BLOCKS, OF_KERNELS, OF_RANKS, WITHOUT_KERNELS, WITHOUT_NORMS

ALGORITHMS = {
    kind.LYCORIS_NAME: kind
    for kind in vars(algorithms).values()
    if isinstance(kind, type) and issubclass(kind, algorithms.Algorithm) and kind.LYCORIS_NAME
}
ALGORITHMS["lora"] = ALGORITHMS["locon"]
"""`algo` and our class for it; the choice of conf/network has LyCORIS' own name for it."""
_PRESETS = (
    "full",
    "blocks",
    "full-lin",
    "attn-mlp",
    "attn-only",
    "unet-only",
    "unet-transformer-only",
    "unet-convblock-only",
)
_SAME: dict[str, type[int] | type[float] | type[bool]] = {
    "conv_dim": int,
    "conv_alpha": float,
    "rank_dropout": float,
    "module_dropout": float,
    "use_tucker": bool,
    "use_scalar": bool,
    "block_size": int,
    "train_norm": bool,
    "constraint": float,
    "rescaled": bool,
    "full_matrix": bool,
    "rs_lora": bool,
    "unbalanced_factorization": bool,
    "factor": int,
}
"""Arguments that have the same name here."""
_ALIASES = {"use_cp": "use_tucker", "use_conv_cp": "use_tucker", "constrain": "constraint"}
_ELSEWHERE = ("algo", "preset", "dropout", "dora_wd", "wd_on_output", "bypass_mode", "decompose_both")
_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")
_FOR_OTHERS = {
    "train_t5xxl": "concerns other models than SDXL and Stable Diffusion 1.5",
    "train_llm_adapter": "concerns other models than SDXL and Stable Diffusion 1.5",
    "disable_conv_cp": "lycoris.kohya ignores it; the argument is use_tucker",
}
_SWALLOWED = "lycoris.kohya never reads it; sweeplora does: take it out to train as sd-scripts did"
_FULL = "6 layers more than LyCORIS finds under sd-scripts' SDXL names; network.preset=blocks has exactly its layers"
_BROKEN = ("full", "full-lin", "unet-only")
"""Presets that LyCORIS 4.1.3 fails on with Stable Diffusion 1.5."""

_TIMED = (
    "lycoris.kohya never passes the timestep, so all ranks train; in sweeplora fewer do at more noise, as in the paper"
)


def lycoris(given: Given, said: Mapping[str, str]) -> list[Entry]:
    """What `lycoris.kohya` would build for a command. Raises UserError for an unsupported algorithm or preset."""
    said = {_ALIASES.get(name, name): value for name, value in said.items()}
    algo = (said.get("algo") or "lora").lower()
    if algo not in ALGORITHMS:
        raise UserError("--network_args algo", algo, f"no such algorithm; {nearest(algo, list(ALGORITHMS))}")
    kind = ALGORITHMS[algo]
    has = frozenset(field.name for field in fields(kind))
    note = _TIMED if algo == "tlora" else ""
    entries = [
        Entry("--network_args algo", "became" if "algo" in said else "default", "network", kind.LYCORIS_NAME, note),
        _preset(given, said),
        *_ranks(given, has),
        *_same(given, said, has),
        *dropout(given, said, has),
        *dora(said, has),
        *bypass(given, said, has),
        *_decompose(said, has),
        *_blocks(given, said, has),
        *_ignored(said, has),
    ]
    return _without_idle(entries, trains_unet(given), "dim_from_weights" in given)


def _preset(given: Given, said: Mapping[str, str]) -> Entry:
    preset = said.get("preset", "full")
    if preset not in _PRESETS:
        mend = f"is neither a preset nor a .toml file; presets: {', '.join(_PRESETS)}"
        raise UserError("--network_args preset", preset, mend)
    notes = {
        ("full", "sdxl"): _FULL,
        **dict.fromkeys(((name, "sd15") for name in _BROKEN), "LyCORIS fails on it"),
    }
    note = notes.get((preset, given.family), "")
    return Entry("--network_args preset", "became" if "preset" in said else "default", "network.preset", preset, note)


def _ranks(given: Given, has: frozenset[str]) -> list[Entry]:
    entries: list[Entry] = []
    if "dim" in has:
        entries.append(given.taken("network_dim", "network.dim", rank_of(given)))
    elif "network_dim" in given:
        entries.append(no_effect("--network_dim", "the algorithm has no rank"))
    if "alpha" in has:
        alpha, note = given["network_alpha"], ""
        if alpha == 0:
            alpha, note = rank_of(given), "0 means the rank in LyCORIS"
        entries.append(given.taken("network_alpha", "network.alpha", alpha, note))
    elif "network_alpha" in given:
        entries.append(no_effect("--network_alpha", "the algorithm has no alpha"))
    return entries


def _same(given: Given, said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    entries: list[Entry] = []
    for name, kind in _SAME.items():
        if name not in said:
            continue
        value = value_of(name, said[name], kind)
        without = value_of("conv_dim", said.get("conv_dim", "1"), int) == 0
        if without and name in ("conv_dim", "conv_alpha") and name in has:
            entries.append(_no_kernels(given, name))
            continue
        if name == "conv_alpha" and value == 0:
            value = float(said.get("conv_dim", rank_of(given)))
        if name not in has and value:
            entries.append(
                no_effect(
                    f"--network_args {name}", "LyCORIS ignores it for this algorithm; sweeplora has no such option"
                )
            )
        elif name in has:
            entries.append(became(f"--network_args {name}", f"network.{name}", value))
        else:
            entries.append(no_effect(f"--network_args {name}", "restates the default"))
    return entries


def _no_kernels(given: Given, name: str) -> Entry:
    """The meaning of `conv_dim=0`: rank 0 for the kernels of every block."""
    flag = f"--network_args {name}"
    if name == "conv_alpha":
        return no_effect(flag, "conv_dim is 0")
    return became(flag, "network.conv_block_dims", flat(given.family, 0), "kernels above 1x1 get no adapter")


def _decompose(said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    if "decompose_both" not in said:
        return []
    flag = "--network_args decompose_both"
    if "decompose_both" not in has:
        return [no_effect(flag, "only LoKr has it")]
    if said["decompose_both"].lower() == "false":
        return [became(flag, "network.decompose_both", False, "in LyCORIS any text turns it on, even False")]
    return [became(flag, "network.decompose_both", bool(said["decompose_both"]))]


def _blocks(given: Given, said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    entries: list[Entry] = []
    for name, values in ranks(given.family, said).items():
        if name in has:
            entries.append(became(f"--network_args {name}", f"network.{name}", values, _SWALLOWED))
        else:
            entries.append(no_effect(f"--network_args {name}", "the algorithm has none"))
    return entries


def _ignored(said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    """Arguments that LyCORIS' `**kwargs` swallows: converted if they have a meaning in sweeplora, else named."""
    entries: list[Entry] = []
    for name, text in said.items():
        if name in _SAME or name in _ELSEWHERE or name in RANKS or name in _PLUS:
            continue
        flag = f"--network_args {name}"
        if name in _FOR_OTHERS:
            entries.append(no_effect(flag, _FOR_OTHERS[name]))
        elif name in RATES:
            entries.append(no_effect(flag, "lycoris.kohya never reads it; rates.blocks is the key for rates by block"))
        elif name == "rank_dropout_scale" and name in has and drops(said.get("rank_dropout")):
            entries.append(became(flag, "network.rank_dropout_scale", value_of(name, text, bool), _SWALLOWED))
        else:
            known = [*_SAME, *_ELSEWHERE, *RANKS, *_PLUS]
            entries.append(
                no_effect(flag, f"lycoris.kohya has no such argument and ignores it; {nearest(name, known)}")
            )
    return entries


def _without_idle(entries: list[Entry], unet: bool, from_weights: bool) -> list[Entry]:
    """The same without values that have no effect, for missing kernels, blocks and ranks."""
    values = {entry.key.removeprefix("network."): entry.value for entry in entries if entry.key}
    useless: dict[str, str] = {}
    if values.get("preset") in WITHOUT_KERNELS:
        useless |= dict.fromkeys(OF_KERNELS, f"preset {values['preset']} has no kernels above 1x1")
    if values.get("preset") in WITHOUT_NORMS:
        useless["train_norm"] = f"preset {values['preset']} has no norms"
    if not unet:
        useless |= dict.fromkeys((*OF_KERNELS, *OF_BLOCKS, "train_norm"), "the U-Net does not train")
    if from_weights:
        useless |= dict.fromkeys(OF_RANKS, "dim_from_weights takes ranks from the file")
    if values.get("full_matrix"):
        names = ("decompose_both", "rs_lora", *OF_BLOCKS, *OF_KERNELS)
        useless |= dict.fromkeys(names, "full_matrix leaves nothing with a rank")
    return [_unless(entry, useless) for entry in entries]


def _unless(entry: Entry, useless: Mapping[str, str]) -> Entry:
    name = entry.key.removeprefix("network.")
    return no_effect(entry.flag, useless[name]) if entry.key and name in useless else entry
