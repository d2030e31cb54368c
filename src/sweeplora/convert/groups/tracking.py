"""Flags about logs, as the group `tracking`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, aside, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError


def entries(given: Given) -> list[Entry]:
    """TensorBoard's part of the group `tracking`."""
    wants, folder = given["log_with"], given["logging_dir"]
    entries: list[Entry] = []
    if wants in ("wandb", "all"):
        note = "Weights & Biases is not supported; MLflow keeps the record" + (", TensorBoard too" if folder else "")
        entries.append(aside("--log_with", note))
    elif wants:
        entries.append(no_effect("--log_with", "--logging_dir says it"))
    if wants == "tensorboard" and not folder:
        raise UserError("--log_with", wants, "needs --logging_dir, in sd-scripts too")
    if folder and wants != "wandb":
        entries.append(became("--logging_dir", "tracking.tensorboard", folder))
        if "log_prefix" in given:
            entries.append(became("--log_prefix", "tracking.tensorboard_prefix", given["log_prefix"]))
        return entries
    names = [name for name in ("logging_dir", "log_prefix") if name in given]
    return [*entries, *(no_effect(f"--{name}", "no TensorBoard log is written") for name in names)]
