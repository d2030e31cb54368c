"""Flags about the optimizer, as the group `optimizer`."""

from __future__ import annotations

from typing import Any

from sweeplora.convert.entries import Entry, aside, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.optimizer_flags import arguments, finds_its_rate, kind, one_rate, relative_step
from sweeplora.errors import UserError

_NAMED = {
    "lion": "lion_pytorch.Lion",
    "prodigy": "prodigyopt.Prodigy",
    "adamw8bit": "bitsandbytes.optim.AdamW8bit",
    "lion8bit": "bitsandbytes.optim.Lion8bit",
    "pagedadamw8bit": "bitsandbytes.optim.PagedAdamW8bit",
    "pagedadamw": "bitsandbytes.optim.PagedAdamW",
    "pagedadamw32bit": "bitsandbytes.optim.PagedAdamW32bit",
    "pagedlion8bit": "bitsandbytes.optim.PagedLion8bit",
    "sgdnesterov8bit": "bitsandbytes.optim.SGD8bit",
    "sgdnesterov": "torch.optim.SGD",
    "dadaptation": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadampreprint": "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptadagrad": "dadaptation.DAdaptAdaGrad",
    "dadaptadam": "dadaptation.DAdaptAdam",
    "dadaptadan": "dadaptation.DAdaptAdan",
    "dadaptadanip": "dadaptation.experimental.DAdaptAdanIP",
    "dadaptlion": "dadaptation.DAdaptLion",
    "dadaptsgd": "dadaptation.DAdaptSGD",
    "adamwschedulefree": "schedulefree.AdamWScheduleFree",
    "radamschedulefree": "schedulefree.RAdamScheduleFree",
    "sgdschedulefree": "schedulefree.SGDScheduleFree",
}
"""sd-scripts' short names, in lower case as it compares them, and the class each means."""
_IN_ADAMW = ("betas", "eps", "weight_decay", "fused")
_LEAST_OWN_RATE = 0.1


def entries(given: Given) -> list[Entry]:
    """The group `optimizer`."""
    name = kind(given)
    typed = next((f"--{flag}" for flag in ("use_8bit_adam", "use_lion_optimizer") if flag in given), "--optimizer_type")
    fate: Any = "became" if typed != "--optimizer_type" or "optimizer_type" in given else "default"
    said = arguments(given, "optimizer_args")
    if name == "adafactor":
        return [Entry(typed, fate, "optimizer", "adafactor"), *_adafactor(given, said), *_fused(given)]
    choice = "adamw" if name == "adamw" else "any"
    entries = [Entry(typed, fate, "optimizer", choice)]
    if choice == "any":
        entries.append(Entry(typed, fate, "optimizer._target_", _target(given, name)))
    if name.startswith("sgdnesterov"):
        entries.append(Entry(typed, fate, "+optimizer.nesterov", True))
        said = {"momentum": 0.9, **said}
    entries.append(_rate(given, name))
    for key, value in said.items():
        plus = "" if choice == "adamw" and key in _IN_ADAMW else "+"
        flag: Any = "became" if f"{key}=" in " ".join(given["optimizer_args"] or []) else "default"
        entries.append(Entry(f"--optimizer_args {key}", flag, f"{plus}optimizer.{key}", value))
    return [*entries, *_fused(given)]


def _target(given: Given, name: str) -> str:
    if name in _NAMED:
        return _NAMED[name]
    written: str = given["optimizer_type"]
    if name in ("ademamix8bit", "pagedademamix8bit"):
        raise UserError(
            "--optimizer_type", written, "sd-scripts does not find it; write bitsandbytes.optim.AdEMAMix8bit"
        )
    return written if "." in written else f"torch.optim.{written}"


def _rate(given: Given, name: str) -> Entry:
    if not finds_its_rate(name):
        return given.taken("learning_rate", "optimizer.lr", given["learning_rate"])
    flag, rate = one_rate(given)
    note = ""
    if rate < _LEAST_OWN_RATE:
        note = "it finds its own rate and multiplies it by this; sd-scripts only warns, sweeplora asks for 1"
    return given.taken(flag, "optimizer.lr", rate, note)


def _adafactor(given: Given, said: dict[str, Any]) -> list[Entry]:
    relative = relative_step(given)
    entries = [became(f"--optimizer_args {key}", f"optimizer.{key}", said[key]) for key in said]
    if relative:
        entries.append(Entry("--optimizer_args relative_step", "default", "optimizer.relative_step", True))
        note = "Adafactor finds its own rate (relative_step); in sd-scripts this only changes what is logged"
        return [*entries, *([no_effect("--learning_rate", note)] if "learning_rate" in given else [])]
    return [*entries, given.taken("learning_rate", "optimizer.lr", given["learning_rate"])]


def _fused(given: Given) -> list[Entry]:
    if "fused_backward_pass" not in given:
        return []
    return [aside("--fused_backward_pass", "not supported; it saves memory and changes nothing else")]
