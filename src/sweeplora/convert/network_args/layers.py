"""How `lycoris.kohya` computes a layer: dropout, weight decomposition, and bypass or merged weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError


def dropout(given: Given, said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    """Neuron dropout: the argument `dropout` takes precedence over `--network_dropout`."""
    flag = "--network_args dropout" if "dropout" in said else "--network_dropout"
    value = value_of("dropout", said["dropout"], float) if "dropout" in said else given["network_dropout"]
    entries: list[Entry] = []
    if "dropout" in said and "network_dropout" in given:
        entries.append(no_effect("--network_dropout", "--network_args dropout overrides it"))
    if not value:
        return [*entries, no_effect(flag, "0 drops nothing")] if value is not None else entries
    if "dropout" not in has or is_true(said, "dora_wd"):
        return [*entries, no_effect(flag, "the algorithm ignores neuron dropout, as in sd-scripts")]
    never = "lycoris.kohya applies it only with bypass_mode=True; to train as sd-scripts did, take it out"
    return [*entries, became(flag, "network.dropout", value, "" if is_true(said, "bypass_mode") else never)]


def dora(said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    """Weight decomposition; LyCORIS computes its norm per output channel by default."""
    if not is_true(said, "dora_wd"):
        names = [name for name in ("dora_wd", "wd_on_output") if name in said]
        return [no_effect(f"--network_args {name}", "there is no dora_wd") for name in names]
    if "dora" not in has:
        names = [name for name in ("dora_wd", "wd_on_output") if name in said]
        return [no_effect(f"--network_args {name}", "the algorithm has no DoRA") for name in names]
    by_output = is_true(said, "wd_on_output", default=True)
    note = "ComfyUI, Forge and A1111 apply only `false` correctly" if by_output else ""
    fate: Any = "became" if "wd_on_output" in said else "default"
    return [
        became("--network_args dora_wd", "network.dora", True),
        Entry("--network_args wd_on_output", fate, "network.wd_on_output", by_output, note),
    ]


def bypass(given: Given, said: Mapping[str, str], has: frozenset[str]) -> list[Entry]:
    """Bypass mode, off by default; it matters for rank dropout, otherwise the faster variant is chosen."""
    if "bypass_mode" not in has:
        return [no_effect("--network_args bypass_mode", "the algorithm has none")] if "bypass_mode" in said else []
    if is_true(said, "bypass_mode"):
        if is_true(said, "dora_wd"):
            return [no_effect("--network_args bypass_mode", "DoRA rescales the whole weight")]
        return [became("--network_args bypass_mode", "network.bypass_mode", True)]
    neurons = said.get("dropout", given["network_dropout"]) if "dropout" in has else None
    by_rows = "dora" in has or "rescaled" in has  # GLoRA's rank dropout only works in bypass mode
    if by_rows and drops(said.get("rank_dropout")) and not drops(neurons):
        fate: Any = "became" if "bypass_mode" in said else "default"
        note = "so that rows of the weight are dropped, as in sd-scripts"
        return [Entry("--network_args bypass_mode", fate, "network.bypass_mode", False, note)]
    return [no_effect("--network_args bypass_mode", "the same result either way")] if "bypass_mode" in said else []


def drops(share: Any) -> bool:
    """Whether a dropout rate, as text or number, drops anything."""
    return share is not None and float(share) > 0


def value_of(name: str, text: str, kind: type[int] | type[float] | type[bool]) -> Any:
    """An argument's text as LyCORIS reads it: anything but "false" is true. Raises UserError for a non-number."""
    if kind is bool:
        return text.lower() != "false"
    try:
        return kind(text)
    except ValueError as error:
        raise UserError(f"--network_args {name}", text, "give a number") from error


def is_true(said: Mapping[str, str], name: str, default: bool = False) -> bool:
    """Whether an argument is given and is not "false"."""
    return said[name].lower() != "false" if name in said else default
