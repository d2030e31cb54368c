"""The model card, written from the figures that the build measured."""

from __future__ import annotations

import os
from pathlib import Path
from string import Template
from typing import Any

from .denoiser import CAPTION_DROPOUT, MADE_UP_SHARE
from .packages import VERSION
from .schedule import MIN_SNR_GAMMA
from .sheet import GUIDANCE, STEPS

CARD = Template(Path(__file__).with_name("card-template.md").read_text("utf-8"))


def write_card(path: Path, facts: dict[str, Any], seed: int) -> None:
    """Write the card whole to `path` from the facts of the stages vae, unet and prove."""
    vae, unet, prompts = facts["vae"], facts["unet"], facts["prompts"]
    text = CARD.substitute(
        guidance=GUIDANCE,
        sample_steps=STEPS,
        scaling_factor=f"{vae['scaling_factor']:.4f}",
        version=VERSION,
        subjects=unet["subjects"],
        dropout=round(100 * CAPTION_DROPOUT),
        made_up=round(100 * MADE_UP_SHARE),
        seed=seed,
        vae_steps=vae["steps"],
        vae_minutes=round(vae["minutes"]),
        unet_steps=unet["steps"],
        unet_minutes=round(unet["minutes"]),
        gamma=MIN_SNR_GAMMA,
        vae_error=f"{vae['error']:.4f}",
        prompts=prompts["prompts"],
        share=f"{100 * prompts['share']:.1f} %",
        right=f"{prompts['right']:.3f}",
        wrong=f"{prompts['wrong']:.3f}",
    )
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
