"""Network modules and their arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweeplora.convert.entries import settings
from sweeplora.errors import UserError
from tests.convert.commands import converted, fate, keys

_LORA = "--network_module=networks.lora"
_TWENTY_THREE = ",".join(["4"] * 23)


def test_the_references_own_defaults_are_written() -> None:
    made = keys("")
    assert (made["network"], made["network.dim"], made["network.alpha"]) == ("locon", 4, 1)
    assert (made["network.preset"], made["network.text_encoders"], made["network.unet"]) == ("full", True, True)
    assert "network.conv_dim" not in made


@pytest.mark.parametrize(
    ("algo", "choice"),
    [("lora", "locon"), ("loha", "loha"), ("lokr", "lokr"), ("diag-oft", "diag-oft"), ("full", "full"), ("ia3", "ia3")],
)
def test_algorithms_become_choices(algo: str, choice: str) -> None:
    assert keys(f"--network_args algo={algo}")["network"] == choice


@pytest.mark.parametrize("name", ["block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"])
@pytest.mark.parametrize(
    ("script", "right", "wrong"), [("sdxl_train_network.py", 23, 25), ("train_network.py", 25, 23)]
)
@pytest.mark.parametrize("module", ["", _LORA])
def test_a_wrong_count_of_blocks_says_the_right_one(
    module: str, script: str, right: int, wrong: int, name: str
) -> None:
    numbers = ",".join(["4"] * wrong)
    with pytest.raises(UserError, match=f"--network_args {name}=.*{wrong} numbers; give {right}, one for each block"):
        converted(f"{module} --network_args {name}={numbers}", script)
    numbers = ",".join(["4"] * right)
    assert keys(f"{module} --network_args {name}={numbers}", script)[f"network.{name}"] == [4] * right


def test_ranks_by_block_did_nothing_with_lycoris_and_do_here() -> None:
    made = converted(f"--network_args block_dims={_TWENTY_THREE}")
    (entry,) = [entry for entry in made.entries if entry.key == "network.block_dims"]
    assert "never reads it" in entry.note


def test_what_the_algorithm_ignores_is_left_out_and_said() -> None:
    made = converted("--network_dropout=0.1 --network_args algo=lokr rank_dropout_scale=True block_size=4 nonsense=1")
    assert fate(made, "--network_dropout") == {"no effect"}
    assert fate(made, "--network_args rank_dropout_scale") == fate(made, "--network_args block_size") == {"no effect"}
    assert fate(made, "--network_args nonsense") == {"no effect"}


def test_dora_keeps_the_norm_it_had_there() -> None:
    assert keys("--network_args algo=lokr dora_wd=True")["network.wd_on_output"] is True
    made = keys("--network_args algo=lokr dora_wd=True wd_on_output=False")
    assert (made["network.dora"], made["network.wd_on_output"]) == (True, False)


def test_dropped_ranks_are_rows_of_the_weight_as_there() -> None:
    assert keys("--network_args algo=locon rank_dropout=0.1")["network.bypass_mode"] is False
    assert "network.bypass_mode" not in keys("--network_args algo=locon")


def test_neuron_dropout_did_nothing_there_without_bypass_mode() -> None:
    (entry,) = [entry for entry in converted("--network_dropout=0.1").entries if entry.key == "network.dropout"]
    assert "only with bypass_mode=True" in entry.note


def test_kernels_of_a_preset_without_any_are_left_out() -> None:
    made = converted("--network_args preset=attn-mlp conv_dim=4 conv_alpha=1")
    assert fate(made, "--network_args conv_dim") == fate(made, "--network_args conv_alpha") == {"no effect"}


def test_old_names_of_arguments_still_count() -> None:
    made = keys("--network_args algo=loha use_cp=True")
    assert made["network.use_tucker"] is True


_ATTENTION = """
enable_conv = false
unet_target_module = ["Transformer2DModel"]
unet_target_name = []
text_encoder_target_module = ["CLIPAttention", "CLIPSdpaAttention", "CLIPMLP"]
"""


@pytest.mark.parametrize(
    ("text", "preset", "encoders"),
    [
        (_ATTENTION, "attn-mlp", True),
        (_ATTENTION.replace('"CLIPAttention", "CLIPSdpaAttention", "CLIPMLP"', ""), "unet-transformer-only", False),
        (
            'enable_conv = true\nunet_target_module = ["Transformer2DModel", "ResnetBlock2D", "Downsample2D", '
            '"Upsample2D"]\ntext_encoder_target_module = ["CLIPAttention", "CLIPMLP"]',
            "blocks",
            True,
        ),
    ],
)
def test_a_presets_file_becomes_the_preset_that_selects_the_same(
    tmp_path: Path, text: str, preset: str, encoders: bool
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    made = converted(f"--network_args algo=lokr preset={tmp_path / 'mine.toml'}")
    values = settings(made.entries)
    assert (values["network.preset"], values["network.text_encoders"]) == (preset, encoders)
    assert f"mine.toml selects the layers of the preset {preset}" in "".join(entry.note for entry in made.entries)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            _ATTENTION + '[module_algo_map.CrossAttention]\nalgo = "lokr"',
            "module_algo_map treats some layers otherwise",
        ),
        (_ATTENTION.replace("Transformer2DModel", "CrossAttention"), "selects .*CrossAttention.*; no preset here"),
        (_ATTENTION + "unet_modules = []", "unet_modules is no key"),
        (_ATTENTION.replace('["Transformer2DModel"]', "3"), "a list of names"),
        ("= 3", "not TOML"),
    ],
)
def test_a_presets_file_that_no_preset_equals_is_refused_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=said):
        converted(f"--network_args preset={tmp_path / 'mine.toml'}")


@pytest.mark.parametrize("preset", ["ia3", "my_preset.toml", "blocks"])
def test_a_preset_of_ones_own_is_refused_by_name(preset: str) -> None:
    with pytest.raises(UserError, match=f"--network_args preset={preset}"):
        converted(f"--network_args preset={preset}")


@pytest.mark.parametrize(
    "module", ["networks.lora_fa", "networks.oft", "networks.control_net_lllite", "networks.lora_flux"]
)
def test_another_module_is_refused_by_name(module: str) -> None:
    with pytest.raises(UserError, match=f"--network_module={module}"):
        converted(f"--network_module={module}")


def test_networks_lora_trains_transformers_and_with_conv_dim_the_blocks() -> None:
    made = keys(_LORA)
    assert (made["network"], made["network.preset"]) == ("locon", "attn-mlp")
    made = keys(f"{_LORA} --network_args conv_dim=8")
    assert (made["network.preset"], made["network.conv_dim"], made["network.conv_alpha"]) == ("blocks", 8, 1.0)


def test_a_block_whose_rate_is_nothing_gets_no_adapter() -> None:
    made = keys(f"{_LORA} --network_dim=8 --network_args down_lr_weight=0,1,1,1,1,1,1,1,0.5 mid_lr_weight=1,1,1")
    assert made["network.block_dims"] == [8, 0, *[8] * 21]
    assert made["rates.blocks"] == [1.0, 1.0, *[1.0] * 7, 0.5, *[1.0] * 13]


def test_dylora_trains_units_of_one_rank_there() -> None:
    made = keys("--network_module=networks.dylora --network_dim=8")
    assert (made["network"], made["network.block_size"], made["network.preset"]) == ("dylora", 1, "attn-mlp")


def test_which_parts_train() -> None:
    assert keys("--network_train_unet_only")["network.text_encoders"] is False
    assert keys("--network_train_text_encoder_only")["network.unet"] is False
    made = keys("--network_args preset=unet-only --text_encoder_lr=1e-5")
    assert (made["network.text_encoders"], "rates.text_encoder" in made) == (False, False)
    made = keys("--text_encoder_lr=0 --unet_lr=1e-4")
    assert (made["network.text_encoders"], made["rates.unet"]) == (False, 1e-4)
    assert "rates.text_encoder" not in made


def test_an_alpha_of_0_is_the_rank_as_in_lycoris() -> None:
    made = keys("--network_dim=8 --network_alpha=0 --network_args conv_dim=4 conv_alpha=0")
    assert (made["network.alpha"], made["network.conv_alpha"]) == (8, 4.0)
    assert keys("--network_dim=8 --network_args conv_alpha=0")["network.conv_alpha"] == 8.0


def test_a_conv_dim_of_0_makes_no_adapter_for_kernels() -> None:
    made = keys("--network_args algo=lokr conv_dim=0 conv_alpha=1")
    assert made["network.conv_block_dims"] == [0] * 23
    assert not {"network.conv_dim", "network.conv_alpha"} & made.keys()


@pytest.mark.parametrize(
    ("flags", "flag"),
    [
        ("--network_module=networks.lora --network_dropout=0", "--network_dropout"),
        ("--network_train_unet_only --text_encoder_lr=0", "--text_encoder_lr"),
        ("--save_every_n_epochs=0 --save_n_epoch_ratio=2 --max_train_epochs=4", "--save_every_n_epochs"),
    ],
)
def test_zeros_that_guis_write_have_a_fate_too(flags: str, flag: str) -> None:
    made = converted(flags)
    assert fate(made, flag)
    assert settings(made.entries).get("network.dropout") is None


def test_each_text_encoder_has_a_rate_of_its_own() -> None:
    assert keys("--text_encoder_lr 1e-5 2e-5")["rates.text_encoder"] == [1e-5, 2e-5]
    assert keys("--text_encoder_lr 1e-5 1e-5")["rates.text_encoder"] == 1e-5


def test_lora_plus_is_one_ratio_for_all_or_one_for_each_part() -> None:
    made = settings(converted("--network_args loraplus_lr_ratio=16 loraplus_unet_lr_ratio=4").entries)
    assert (made["rates.loraplus_unet"], made["rates.loraplus_text_encoder"]) == (4.0, 16.0)
    made = keys("--network_train_unet_only --network_args loraplus_lr_ratio=16")
    assert "rates.loraplus_text_encoder" not in made


def test_it_starts_from_a_file() -> None:
    made = converted("--network_weights=/w.safetensors --dim_from_weights --network_args conv_dim=4")
    values = settings(made.entries)
    assert (values["network.weights"], values["network.dim_from_weights"]) == ("/w.safetensors", True)
    assert fate(made, "--network_args conv_dim") == {"no effect"}
    with pytest.raises(UserError, match="--network_weights"):
        converted("--dim_from_weights")


def test_lora_plus_does_nothing_where_there_is_no_b() -> None:
    made = converted("--network_args algo=loha loraplus_lr_ratio=16")
    assert fate(made, "--network_args loraplus_lr_ratio") == {"no effect"}


def test_a_share_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="--network_args rank_dropout=often"):
        converted("--network_args rank_dropout=often")


def test_norms_are_limited_where_lycoris_limits_them() -> None:
    assert keys("--scale_weight_norms=1 --network_args algo=lokr")["train.max_weight_norm"] == 1.0
    made = converted("--scale_weight_norms=1 --network_args algo=full")
    assert fate(made, "--scale_weight_norms") == {"no effect"}


def test_norms_of_a_preset_without_any_are_left_out() -> None:
    made = converted("--network_args preset=attn-only train_norm=True")
    assert fate(made, "--network_args train_norm") == {"no effect"}


@pytest.mark.parametrize("module", ["networks.lora", "networks.dylora", "lycoris.kohya"])
def test_a_rank_that_no_layer_has_is_refused_and_not_replaced(module: str) -> None:
    with pytest.raises(UserError, match="--network_dim=0: no layer has such a rank"):
        keys(f"--network_module={module} --network_dim=0")
