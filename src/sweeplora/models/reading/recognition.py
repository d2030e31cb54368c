"""Identifies a weights file by its tensor names when it is not a model of the requested family."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KINDS = (
    (r"lora_(unet|te\d?|transformer)_|.*\.(lora_(down|up|A|B)|hada_w1_a|lokr_w1)\b", "a LoRA"),
    (r"(model\.diffusion_model\.)?double_blocks\.", "a Flux model"),
    (r"(model\.diffusion_model\.)?joint_blocks\.", "a Stable Diffusion 3 model"),
    (r"control_model\.|input_hint_block\.", "a ControlNet"),
    (r"emb_params$|string_to_param|clip_[lg]$", "a textual inversion"),
    (r"edm_", "an EDM model"),
    (r"cond_stage_model\.model\.", "a Stable Diffusion 2 model"),
    (r"conditioner\.embedders\.0\.model\.", "an SDXL refiner"),
    (r"conditioner\.embedders\.1\.model\.", "an SDXL model"),
    (r"cond_stage_model\.transformer\.", "an SD 1.5 model"),
    (r"model\.diffusion_model\.", "a U-Net without text encoders"),
    (r"down_blocks\.", "a U-Net alone, as a diffusers folder holds it"),
    (r"((first_stage_model|vae)\.)?(encoder|decoder)\.(down|mid|up|conv_in)", "a VAE alone"),
    (r"(text_model\.)?(encoder\.layers|embeddings)\.", "a text encoder alone"),
)


def kind_of(names: Iterable[str]) -> str:
    """The description from the first rule that matches any name, or that the file is unknown."""
    known = list(names)
    found = (kind for pattern, kind in _KINDS if any(re.match(pattern, name) for name in known))
    return next(found, "a file without any part of a model that is known here")
