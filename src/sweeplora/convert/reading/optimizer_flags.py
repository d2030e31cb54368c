"""The optimizer that a command selects, its arguments, and the learning rate of each part."""

from __future__ import annotations

import ast
from typing import Any

from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.trained_parts import trains_text_encoders, trains_unet
from sweeplora.errors import UserError


def kind(given: Given) -> str:
    """The optimizer's name as sd-scripts compares it: in lower case, "adamw" by default."""
    switches = {"use_8bit_adam": "adamw8bit", "use_lion_optimizer": "lion"}
    asked = [name for name in switches if name in given]
    if len(asked) + bool(given["optimizer_type"]) > 1:
        raise UserError(f"--{asked[0]}", True, "names another optimizer than the rest; give one")
    return switches[asked[0]] if asked else (given["optimizer_type"] or "AdamW").lower()


def relative_step(given: Given) -> bool:
    """Whether it is an Adafactor that finds its own rate: unless relative_step=False without warmup_init."""
    said = arguments(given, "optimizer_args")
    return kind(given) == "adafactor" and bool(said.get("relative_step", True) or said.get("warmup_init", False))


def schedule_free(given: Given) -> bool:
    """Whether the optimizer is schedule-free."""
    return kind(given).endswith("schedulefree")


def arguments(given: Given, flag: str) -> dict[str, Any]:
    """`key=value` words as sd-scripts reads them, tuples as lists. Raises UserError for a value that is no literal."""
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


def finds_its_rate(name: str) -> bool:
    """Whether an optimizer finds one rate for all parameters, as a multiple of the given one."""
    return name.startswith("dadapt") or name == "prodigy"


def one_rate(given: Given) -> tuple[str, float]:
    """Flag and value of the learning rate for an optimizer that scales a single rate.

    Raises UserError if the rates of the parts differ.
    """
    rates = {flag: rate for flag, rate in _rates_of_parts(given).items() if rate}
    if len(set(rates.values())) > 1:
        said = ", ".join(f"--{flag} {rate}" for flag, rate in rates.items())
        raise UserError("--optimizer_type", kind(given), f"finds one rate for all parts, and {said} differ; give one")
    return next(iter(rates.items()), ("learning_rate", given["learning_rate"]))


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
