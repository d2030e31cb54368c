"""Flags about the network: its module, its ranks, and its initial weights."""

from __future__ import annotations

from collections.abc import Mapping

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.network_args.kohya import kohya
from sweeplora.convert.network_args.lycoris import ALGORITHMS, lycoris
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.trained_parts import trains_text_encoders, trains_unet, without_text_encoders
from sweeplora.errors import UserError

_MODULES = ("lycoris.kohya", "networks.lora", "networks.dylora")
_WITH_B = ("locon", "dylora", "tlora")
_PLUS = ("loraplus_lr_ratio", "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio")


def entries(given: Given) -> list[Entry]:
    """The group `network`, and the part of `rates` that the network's arguments set."""
    module = given["network_module"]
    if module not in _MODULES:
        mend = f"only {', '.join(_MODULES)} can be converted"
        raise UserError("--network_module", module or "", mend if module else f"none is given; {mend}")
    said = _arguments(given)
    own = lycoris(given, said) if module == "lycoris.kohya" else kohya(given, said)
    return [
        became("--network_module", "", module, "network"),
        *own,
        *_places(given),
        *_start(given),
        *_plus(given, said, any(entry.key == "network" and entry.value in _WITH_B for entry in own)),
    ]


def limits_norms(given: Given) -> bool:
    """Whether `--scale_weight_norms` has an effect on the resulting network."""
    module = given["network_module"]
    algo = (_arguments(given).get("algo") or "lora").lower()
    if module != "lycoris.kohya":
        return bool(module == "networks.lora")
    return ALGORITHMS[algo].TAKES_NORM_LIMIT


def _arguments(given: Given) -> dict[str, str]:
    """`--network_args` by name; every value is text, as in sd-scripts."""
    found: dict[str, str] = {}
    for word in given["network_args"] or []:
        key, sign, value = word.partition("=")
        if not sign:
            raise UserError("--network_args", word, "write key=value")
        found[key] = value
    return found


def _places(given: Given) -> list[Entry]:
    """Whether the U-Net and the text encoders train."""
    unet, encoders = trains_unet(given), trains_text_encoders(given)
    preset = without_text_encoders(given)
    note = f"preset {preset} has none of the text encoders' layers" if preset else ""
    if not (unet or encoders):
        raise UserError("--network_train_unet_only", True, "the other flags leave nothing to train")
    entries = [
        given.taken("network_train_unet_only", "network.text_encoders", encoders, note),
        given.taken("network_train_text_encoder_only", "network.unet", unet),
    ]
    if given["unet_lr"] == 0:
        entries.append(became("--unet_lr", "network.unet", False, "a rate of 0 trains nothing"))
    rate = given["text_encoder_lr"]
    if rate and rate[0] == 0:
        entries.append(became("--text_encoder_lr", "network.text_encoders", False, "a rate of 0 trains nothing"))
    return entries


def _start(given: Given) -> list[Entry]:
    if "network_weights" not in given:
        if "dim_from_weights" in given:
            raise UserError("--dim_from_weights", True, "needs --network_weights, in sd-scripts too")
        return []
    entries = [became("--network_weights", "network.weights", given["network_weights"])]
    if "dim_from_weights" in given:
        entries.append(became("--dim_from_weights", "network.dim_from_weights", True))
    return entries


def _plus(given: Given, said: Mapping[str, str], has_b: bool) -> list[Entry]:
    """LoRA+: one ratio for all, or one per part, which takes precedence."""
    if not any(name in said for name in _PLUS):
        return []
    entries: list[Entry] = []
    parts = {"unet": trains_unet(given), "text_encoder": trains_text_encoders(given)}
    for part, trains in parts.items():
        names = [name for name in (f"loraplus_{part}_lr_ratio", _PLUS[0]) if name in said]
        if not names:
            continue
        if not has_b:
            entries += [
                no_effect(f"--network_args {name}", "the algorithm has no B factor with a rate of its own")
                for name in names
            ]
            continue
        if trains:
            entries.append(became(f"--network_args {names[0]}", f"rates.loraplus_{part}", _ratio(said, names[0])))
            entries += [
                no_effect(f"--network_args {name}", f"--network_args {names[0]} overrides it") for name in names[1:]
            ]
        elif names[0] != _PLUS[0]:
            entries.append(no_effect(f"--network_args {names[0]}", "that part is not trained"))
    return entries


def _ratio(said: Mapping[str, str], name: str) -> float:
    try:
        return float(said[name])
    except ValueError as error:
        raise UserError(f"--network_args {name}", said[name], "give a number") from error
