"""The denoiser of SDXL's structure and its two text encoders, small."""

from __future__ import annotations

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTHS = (48, 80, 128)
TEXT_WIDTHS = (64, 96)
TIME_ID_WIDTH = 32


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net with nine down, three middle and nine up blocks in SDXL's own counting."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=WIDTHS,
        layers_per_block=2,
        transformer_layers_per_block=[1, 1, 1],
        attention_head_dim=[1, 2, 4],
        cross_attention_dim=sum(TEXT_WIDTHS),
        norm_num_groups=8,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_ID_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 6 * TIME_ID_WIDTH,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained first encoder; only its last hidden state but one is used, as in SDXL."""
    return CLIPTextModel(_text_config(tokenizer, TEXT_WIDTHS[0], "quick_gelu"))


def new_text_encoder_2(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """An untrained second encoder, which also gives the pooled embedding of the whole caption."""
    return CLIPTextModelWithProjection(_text_config(tokenizer, TEXT_WIDTHS[1], "gelu"))


def _text_config(tokenizer: CLIPTokenizer, width: int, activation: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=width // 32,
        max_position_embeddings=tokenizer.model_max_length,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
