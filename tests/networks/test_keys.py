"""Which layers a preset selects and what they are called in a file, on the tiny model and on SDXL's real shape."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from sweeplora.models import folder
from sweeplora.networks.keys import Shapes, count_selected, encoder_layers, original_names, unet_layers

# Names in the original checkpoint of SDXL base 1.0, beside diffusers' names of the same layers.
LITERAL = {
    "conv_in": "lora_unet_input_blocks_0_0",
    "time_embedding.linear_2": "lora_unet_time_embed_2",
    "add_embedding.linear_1": "lora_unet_label_emb_0_0",
    "down_blocks.0.resnets.1.conv2": "lora_unet_input_blocks_2_0_out_layers_3",
    "down_blocks.0.downsamplers.0.conv": "lora_unet_input_blocks_3_0_op",
    "down_blocks.1.resnets.0.conv_shortcut": "lora_unet_input_blocks_4_0_skip_connection",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q": (
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    ),
    "down_blocks.1.downsamplers.0.conv": "lora_unet_input_blocks_6_0_op",
    "down_blocks.2.attentions.1.proj_in": "lora_unet_input_blocks_8_1_proj_in",
    "mid_block.resnets.1.time_emb_proj": "lora_unet_middle_block_2_emb_layers_1",
    "mid_block.attentions.0.transformer_blocks.1.ff.net.0.proj": (
        "lora_unet_middle_block_1_transformer_blocks_1_ff_net_0_proj"
    ),
    "up_blocks.0.attentions.2.transformer_blocks.1.attn2.to_out.0": (
        "lora_unet_output_blocks_2_1_transformer_blocks_1_attn2_to_out_0"
    ),
    "up_blocks.0.upsamplers.0.conv": "lora_unet_output_blocks_2_2_conv",
    "up_blocks.1.upsamplers.0.conv": "lora_unet_output_blocks_5_2_conv",
    "up_blocks.2.resnets.2.conv1": "lora_unet_output_blocks_8_0_in_layers_2",
    "conv_out": "lora_unet_out_2",
}


def shapes(model: nn.Module) -> Shapes:
    return {
        name: tuple(layer.weight.shape)
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv2d)
    }


@pytest.fixture(scope="module")
def sdxl() -> Shapes:
    """The layers of SDXL base 1.0, from the numbers of its config, without memory for its weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            layers_per_block=2,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
    return shapes(unet)


def test_the_tiny_models_keys_are_sdxls_own(tiny_model: Path) -> None:
    layers = unet_layers(folder.read(tiny_model).unet.shapes(), "full")
    assert {name: layers[name] for name in LITERAL} == LITERAL


def test_sdxls_keys_are_its_own_and_no_two_alike(sdxl: Shapes) -> None:
    layers = unet_layers(sdxl, "full")
    assert {name: layers[name] for name in LITERAL} == LITERAL
    assert len(set(layers.values())) == len(layers)


@pytest.mark.parametrize(
    ("preset", "count"), [("full", 794), ("unet-only", 794), ("attn-mlp", 722), ("attn-only", 560)]
)
def test_presets_select_sdxls_known_numbers_of_layers(sdxl: Shapes, preset: str, count: int) -> None:
    """sd-scripts names 722 linear layers of SDXL's transformers, LyCORIS 788 with the convolutions of its blocks;
    the six layers outside the blocks make 794. 70 transformer blocks of 2 x 4 attention projections make 560."""
    assert len(unet_layers(sdxl, preset)) == count


def test_attention_presets_hold_no_layer_of_another_kind(sdxl: Shapes) -> None:
    assert {key.rpartition("attn")[2] for key in unet_layers(sdxl, "attn-only").values()} == {
        f"{number}_to_{name}" for number in (1, 2) for name in ("q", "k", "v", "out_0")
    }
    assert all(len(sdxl[name]) == 2 for name in unet_layers(sdxl, "attn-mlp"))


@pytest.mark.parametrize(
    ("preset", "first", "second"), [("full", 72, 192), ("attn-only", 48, 128), ("unet-only", 0, 0)]
)
def test_text_encoder_layers_of_sdxls_shape(preset: str, first: int, second: int) -> None:
    """Six linear layers in each of 12 and 32 layers; `text_model` in every name, though transformers lost one."""
    config: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "vocab_size": 9}
    with torch.device("meta"):
        encoders = [
            CLIPTextModel(CLIPTextConfig(num_hidden_layers=12, **config)),
            CLIPTextModelWithProjection(CLIPTextConfig(num_hidden_layers=32, **config)),
        ]
    found = [
        encoder_layers(shapes(encoder), preset, prefix)
        for encoder, prefix in zip(encoders, ("lora_te1", "lora_te2"), strict=True)
    ]
    assert [len(layers) for layers in found] == [first, second]
    if preset == "full":
        assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj" in found[0].values()
        assert "lora_te1_text_model_encoder_layers_11_mlp_fc2" in found[0].values()
        assert "lora_te2_text_model_encoder_layers_31_self_attn_out_proj" in found[1].values()


def test_the_count_from_a_folder_is_the_count_of_its_layers(tiny_model: Path) -> None:
    facts = folder.read(tiny_model)
    assert count_selected(facts, "full", text_encoders=False) == 263
    assert count_selected(facts, "full", text_encoders=True) == 263 + 24
    assert count_selected(facts, "attn-only", text_encoders=True) == 17 * 8 + 16
    assert count_selected(facts, "attn-mlp", text_encoders=False) == 17 * 10 + 11 * 2


def test_a_foreign_layer_is_no_sdxl_name() -> None:
    with pytest.raises(ValueError, match=r"transformer_blocks\.0\.attn\.to_q"):
        original_names(["conv_in", "transformer_blocks.0.attn.to_q"])


def test_names_are_told_without_torch() -> None:
    code = "import sys, sweeplora.networks.keys, sweeplora.networks.algorithms; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
