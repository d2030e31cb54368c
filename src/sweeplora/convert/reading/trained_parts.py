"""Which parts of the model train: the U-Net, the text encoders."""

from __future__ import annotations

from sweeplora.convert.reading.given import Given
from sweeplora.networks.refusals import UNET_ONLY


def trains_unet(given: Given) -> bool:
    """Whether the U-Net trains."""
    return "network_train_text_encoder_only" not in given and given["unet_lr"] != 0


def trains_text_encoders(given: Given) -> bool:
    """Whether the text encoders train: in sd-scripts they do unless they are excluded or their rate is 0."""
    rate = given["text_encoder_lr"]
    excluded = "network_train_unet_only" in given or without_text_encoders(given) is not None
    return not excluded and not (rate is not None and rate and rate[0] == 0)


def without_text_encoders(given: Given) -> str | None:
    """The requested LyCORIS preset if it selects no text encoder layers."""
    presets = [word.partition("=")[2] for word in given["network_args"] or [] if word.startswith("preset=")]
    found = given["network_module"] == "lycoris.kohya" and bool(presets) and presets[-1] in UNET_ONLY
    return presets[-1] if found else None
