"""Which layers a preset selects and what they are called in a file, on both families in their true sizes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from sweeplora.models.layout import original_names
from sweeplora.networks.keys import PRESETS, encoder_layers, norm_layers, selected, unet_layers
from tests.networks.real import Facts, Real, digest, expected, real

FAMILIES = ["sdxl", "sd15"]

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


LITERAL_SD15 = {
    "conv_in": "lora_unet_conv_in",
    "time_embedding.linear_1": "lora_unet_time_embedding_linear_1",
    "down_blocks.0.attentions.0.proj_in": "lora_unet_down_blocks_0_attentions_0_proj_in",
    "down_blocks.0.downsamplers.0.conv": "lora_unet_down_blocks_0_downsamplers_0_conv",
    "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj": (
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_ff_net_0_proj"
    ),
    "up_blocks.3.resnets.2.conv_shortcut": "lora_unet_up_blocks_3_resnets_2_conv_shortcut",
}

# What LyCORIS means to select and misses in sd-scripts' SDXL U-Net, where these layers have other names.
OUTER = {
    "lora_unet_input_blocks_0_0",
    "lora_unet_out_2",
    "lora_unet_time_embed_0",
    "lora_unet_time_embed_2",
    "lora_unet_label_emb_0_0",
    "lora_unet_label_emb_0_2",
}
CONVOLUTIONS = {"lora_unet_input_blocks_0_0", "lora_unet_out_2"}
MORE = {
    "full": OUTER,
    "unet-only": OUTER,
    "full-lin": OUTER - CONVOLUTIONS,
    "unet-convblock-only": CONVOLUTIONS,
}


def modules(model: Real, preset: str) -> dict[str, tuple[int, ...]]:
    """Key -> weight shape of all that a preset selects."""
    found = {key: model.unet[name] for name, key in unet_layers(model.unet, preset, model.layout).items()}
    for encoder, prefix in zip(model.encoders, model.layout.encoder_prefixes, strict=True):
        found |= {key: encoder[name] for name, key in encoder_layers(encoder, preset, prefix).items()}
    return found


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "preset",
    ["full", "full-lin", "attn-mlp", "attn-only", "unet-only", "unet-transformer-only", "unet-convblock-only"],
)
def test_a_preset_selects_what_lycoris_does_on_sd_scripts_own_models(family: str, preset: str) -> None:
    """Every key and shape, but for SDXL's layers outside the blocks, which LyCORIS means to have and does not find."""
    wanted = expected("presets", family)[preset]
    found = modules(real(family), preset)
    more = MORE.get(preset, set()) if family == "sdxl" else set()
    assert more <= found.keys()
    theirs = {key: shape for key, shape in found.items() if key not in more}
    encoders = [key for key in theirs if key.startswith("lora_te")]
    assert (len(theirs) - len(encoders), len(encoders)) == (wanted["unet"], wanted["text"])
    assert digest(f"{key} {'x'.join(map(str, shape))}" for key, shape in theirs.items()) == wanted["modules"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("preset", "case"), [("attn-mlp", "kohya"), ("blocks", "kohya with conv_dim")])
def test_networks_lora_of_sd_scripts_has_its_preset(family: str, preset: str, case: str) -> None:
    wanted = expected("presets", family)[case]
    assert digest(modules(real(family), preset)) == wanted["modules"]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("preset", ["full", "full-lin", "attn-mlp", "attn-only", "unet-convblock-only"])
def test_norms_that_train_are_those_of_lycoris(family: str, preset: str) -> None:
    wanted, model = expected("presets", family)[preset], real(family)
    found = norm_layers(model.norms, preset, model.layout)
    assert len(found) == wanted["num_norms"]
    assert digest(found.values()) == wanted["norms"]


@pytest.mark.parametrize(("family", "literal"), [("sdxl", LITERAL), ("sd15", LITERAL_SD15)])
def test_keys_are_the_familys_own_and_no_two_alike(family: str, literal: dict[str, str]) -> None:
    model = real(family)
    layers = unet_layers(model.unet, "full", model.layout)
    assert {name: layers[name] for name in literal} == literal
    keys = [*layers.values(), *norm_layers(model.norms, "full", model.layout).values()]
    assert len(set(keys)) == len(keys)


def test_attention_presets_hold_no_layer_of_another_kind() -> None:
    model = real("sdxl")
    assert {key.rpartition("attn")[2] for key in unet_layers(model.unet, "attn-only", model.layout).values()} == {
        f"{number}_to_{name}" for number in (1, 2) for name in ("q", "k", "v", "out_0")
    }
    assert all(len(model.unet[name]) == 2 for name in unet_layers(model.unet, "attn-mlp", model.layout))


@pytest.mark.parametrize("family", FAMILIES)
def test_full_without_kernels_keeps_the_convolutions_that_are_linear_maps(family: str) -> None:
    model = real(family)
    shapes = [model.unet[name] for name in unet_layers(model.unet, "full-lin", model.layout)]
    assert {shape[2:] for shape in shapes} == {(), (1, 1)}


def test_text_encoder_keys_say_text_model_though_transformers_lost_one() -> None:
    first, second = real("sdxl").encoders
    found = [encoder_layers(first, "full", "lora_te1"), encoder_layers(second, "full", "lora_te2")]
    assert "lora_te1_text_model_encoder_layers_0_self_attn_q_proj" in found[0].values()
    assert "lora_te1_text_model_encoder_layers_11_mlp_fc2" in found[0].values()
    assert "lora_te2_text_model_encoder_layers_31_self_attn_out_proj" in found[1].values()
    (only,) = real("sd15").encoders
    assert "lora_te_text_model_encoder_layers_11_mlp_fc2" in encoder_layers(only, "full", "lora_te").values()


def network(**changes: Any) -> dict[str, Any]:
    ranks = dict.fromkeys(
        ("conv_dim", "conv_alpha", "block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas")
    )
    return {"preset": "full", "unet": True, "text_encoders": False, "dim": 4, "alpha": 1.0, **ranks, **changes}


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 794),
        ({"text_encoders": True}, 794 + 264),
        ({"unet": False, "text_encoders": True}, 264),
        ({"unet": False, "text_encoders": True, "preset": "unet-only"}, 0),
        ({"unet": False}, 0),
        ({"block_dims": [0] * 23}, 0),
        ({"block_dims": [0] * 23, "conv_dim": 2}, 40),
        ({"block_dims": [4] + [0] * 22}, 4),
    ],
)
def test_what_is_selected_is_counted_from_shapes(changes: dict[str, Any], count: int) -> None:
    assert len(selected(Facts("sdxl"), network(**changes))) == count


@pytest.mark.parametrize("preset", PRESETS)
def test_the_folders_keys_are_those_of_its_model(preset: str) -> None:
    found = selected(Facts("sd15"), network(preset=preset, text_encoders=True))
    assert set(found) == set(modules(real("sd15"), preset))


def test_a_foreign_layer_is_no_sdxl_name() -> None:
    with pytest.raises(ValueError, match=r"transformer_blocks\.0\.attn\.to_q"):
        original_names(["conv_in", "transformer_blocks.0.attn.to_q"])


def test_names_are_told_without_torch() -> None:
    code = "import sys, sweeplora.networks.keys, sweeplora.networks.file.held; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
