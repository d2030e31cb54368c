"""Learning rates of the parts, as the group `rates`; `--network_args` sets others: see `network`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.convert.reading.optimizer_flags import finds_its_rate, kind, one_rate, relative_step
from sweeplora.convert.reading.trained_parts import trains_text_encoders


def entries(given: Given) -> list[Entry]:
    """The group `rates`, except for what the network's arguments set."""
    if relative_step(given):
        note = "Adafactor finds its own rate (relative_step)"
        return [no_effect(f"--{name}", note) for name in ("unet_lr", "text_encoder_lr") if name in given]
    if finds_its_rate(kind(given)):
        note = f"{kind(given)} finds one rate for all parts, in multiples of optimizer.lr"
        own, _ = one_rate(given)
        names = [name for name in ("learning_rate", "unet_lr", "text_encoder_lr") if name in given]
        return [no_effect(f"--{name}", note) for name in names if name != own]
    entries: list[Entry] = []
    if given["unet_lr"]:
        entries.append(became("--unet_lr", "rates.unet", given["unet_lr"]))
    encoders = given["text_encoder_lr"]
    if encoders and any(encoders) and not trains_text_encoders(given):
        entries.append(no_effect("--text_encoder_lr", "no text encoder trains"))
    elif encoders and any(encoders):
        entries.append(_encoder_rate(encoders, given.family))
    return entries


def _encoder_rate(encoders: list[float], family: str) -> Entry:
    if len(set(encoders)) == 1 or family == "sd15":
        return became("--text_encoder_lr", "rates.text_encoder", encoders[0])
    note = "in sd-scripts these network modules read only the first; in sweeplora each encoder has its own"
    return became("--text_encoder_lr", "rates.text_encoder", encoders[:2], note)
