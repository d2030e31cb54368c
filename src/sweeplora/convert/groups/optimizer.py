"""Flags about the optimizer and its rates."""

from __future__ import annotations

import ast
from typing import Any

from sweeplora.convert.entries import Entry, aside, became, idle
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError
from sweeplora.networks.refusals import UNET_ONLY

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
"""The reference's short names, in lower case as it compares them, and the class each means."""
_IN_ADAMW = ("betas", "eps", "weight_decay", "fused")
_LEAST_OWN_RATE = 0.1


def kind(given: Given) -> str:
    """The optimizer's name as the reference compares it: in lower case, "adamw" where none is given."""
    switches = {"use_8bit_adam": "adamw8bit", "use_lion_optimizer": "lion"}
    asked = [name for name in switches if name in given]
    if len(asked) + bool(given["optimizer_type"]) > 1:
        raise UserError(f"--{asked[0]}", True, "names another optimizer than the rest; give one")
    return switches[asked[0]] if asked else (given["optimizer_type"] or "AdamW").lower()


def relative_step(given: Given) -> bool:
    """Whether it is an Adafactor that finds its rate: there unless relative_step=False without warmup_init."""
    said = arguments(given, "optimizer_args")
    return kind(given) == "adafactor" and bool(said.get("relative_step", True) or said.get("warmup_init", False))


def schedule_free(given: Given) -> bool:
    """Whether the optimizer goes without a schedule."""
    return kind(given).endswith("schedulefree")


def arguments(given: Given, flag: str) -> dict[str, Any]:
    """`key=value` words as the reference reads them, tuples as lists. Raises UserError for what is no literal."""
    found: dict[str, Any] = {}
    for word in given[flag] or []:
        key, sign, text = word.partition("=")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise UserError(
                f"--{flag}", word, "write key=value with a Python literal, e.g. weight_decay=0.01"
            ) from error
        if not sign:
            raise UserError(f"--{flag}", word, "write key=value")
        found[key] = list(value) if isinstance(value, tuple) else value
    return found


def optimizer(given: Given) -> list[Entry]:
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
            "--optimizer_type", written, "the reference does not find it; write bitsandbytes.optim.AdEMAMix8bit"
        )
    return written if "." in written else f"torch.optim.{written}"


def _rate(given: Given, name: str) -> Entry:
    if not finds_its_rate(name):
        return given.taken("learning_rate", "optimizer.lr", given["learning_rate"])
    rates = {flag: rate for flag, rate in _rates_of_parts(given).items() if rate}
    if len(set(rates.values())) > 1:
        said = ", ".join(f"--{flag} {rate}" for flag, rate in rates.items())
        raise UserError("--optimizer_type", name, f"finds one rate for all parts, and {said} differ; give one")
    flag, rate = next(iter(rates.items()))
    note = ""
    if rate < _LEAST_OWN_RATE:
        note = "it finds its own rate and multiplies it by this, which there is only warned of; the check asks for 1"
    return given.taken(flag, "optimizer.lr", rate, note)


def finds_its_rate(name: str) -> bool:
    """Whether an optimizer finds one rate for all that trains, in multiples of the one given."""
    return name.startswith("dadapt") or name == "prodigy"


def _rates_of_parts(given: Given) -> dict[str, float]:
    """The flag that gives each part its rate, and the rate."""
    found: dict[str, float] = {}
    if trains_text_encoders(given):
        own = given["text_encoder_lr"]
        found["text_encoder_lr" if own else "learning_rate"] = own[0] if own else given["learning_rate"]
    if trains_unet(given):
        own = given["unet_lr"]
        found["learning_rate" if own is None else "unet_lr"] = given["learning_rate"] if own is None else own
    return found or {"learning_rate": given["learning_rate"]}


def _adafactor(given: Given, said: dict[str, Any]) -> list[Entry]:
    relative = relative_step(given)
    entries = [became(f"--optimizer_args {key}", f"optimizer.{key}", said[key]) for key in said]
    if relative:
        entries.append(Entry("--optimizer_args relative_step", "default", "optimizer.relative_step", True))
        note = "Adafactor finds its own rate (relative_step); there this only seeds what is logged"
        return [*entries, *([idle("--learning_rate", note)] if "learning_rate" in given else [])]
    return [*entries, given.taken("learning_rate", "optimizer.lr", given["learning_rate"])]


def _fused(given: Given) -> list[Entry]:
    if "fused_backward_pass" not in given:
        return []
    return [aside("--fused_backward_pass", "not supported; it saves memory and changes nothing else")]


def rates(given: Given) -> list[Entry]:
    """The group `rates`, but for what the network's arguments say."""
    if relative_step(given):
        note = "Adafactor finds its own rate (relative_step)"
        return [idle(f"--{name}", note) for name in ("unet_lr", "text_encoder_lr") if name in given]
    if finds_its_rate(kind(given)):
        note = f"{kind(given)} finds one rate for all parts, in multiples of optimizer.lr"
        own = _rate(given, kind(given)).flag
        names = [name for name in ("learning_rate", "unet_lr", "text_encoder_lr") if name in given]
        return [idle(f"--{name}", note) for name in names if f"--{name}" != own]
    entries: list[Entry] = []
    if given["unet_lr"]:
        entries.append(became("--unet_lr", "rates.unet", given["unet_lr"]))
    encoders = given["text_encoder_lr"]
    if encoders and any(encoders) and not trains_text_encoders(given):
        entries.append(idle("--text_encoder_lr", "no text encoder trains"))
    elif encoders and any(encoders):
        entries.append(_encoder_rate(encoders, given.family))
    return entries


def trains_text_encoders(given: Given) -> bool:
    """Whether the text encoders train: there unless they are excluded, or their rate is 0."""
    rate = given["text_encoder_lr"]
    excluded = "network_train_unet_only" in given or without_text_encoders(given) is not None
    return not excluded and not (rate is not None and rate and rate[0] == 0)


def without_text_encoders(given: Given) -> str | None:
    """The preset of LyCORIS that is asked for, where it has none of the text encoders' layers."""
    presets = [word.partition("=")[2] for word in given["network_args"] or [] if word.startswith("preset=")]
    found = given["network_module"] == "lycoris.kohya" and bool(presets) and presets[-1] in UNET_ONLY
    return presets[-1] if found else None


def trains_unet(given: Given) -> bool:
    """Whether the U-Net trains."""
    return "network_train_text_encoder_only" not in given and given["unet_lr"] != 0


def _encoder_rate(encoders: list[float], family: str) -> Entry:
    if len(set(encoders)) == 1 or family == "sd15":
        return became("--text_encoder_lr", "rates.text_encoder", encoders[0])
    note = "there only the first is read by these network modules; here each encoder has its own"
    return became("--text_encoder_lr", "rates.text_encoder", encoders[:2], note)
