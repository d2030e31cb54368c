"""A file merged into the base makes the model that the network makes beside it, whoever wrote the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from safetensors.torch import save_file
from torch import Tensor, nn

from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.file.held import read
from sweeplora.networks.file.update import scaled_tensors
from sweeplora.networks.file.write import save
from sweeplora.networks.keys import unet_layers
from sweeplora.networks.merged_base import merge
from tests.networks.models import moved, opened, predicted
from tests.networks.options import options
from tests.networks.real import shapes

Open = Callable[[str], Family]

NETWORKS: dict[str, Any] = {
    "locon": options("locon", text_encoders=True),
    "locon-tucker-scalar-rs": options("locon", use_tucker=True, use_scalar=True, rs_lora=True, conv_dim=2),
    "dora": options("dora"),
    "dora-on-output": options("dora", wd_on_output=True),
    "loha": options("loha"),
    "loha-tucker-dora": options("loha", use_tucker=True, dora=True),
    "lokr": options("lokr", dim=2, alpha=1.0),
    "lokr-both": options("lokr", dim=2, alpha=1.0, factor=4, decompose_both=True, use_tucker=True),
    "lokr-whole": options("lokr", dim=100000),
    "glora": options("glora"),
    "dylora": options("dylora"),
    "full": options("full"),
    "norms": options("locon", train_norm=True),
    "blocks": options("locon", block_dims=[0, 4] * 11 + [8], block_alphas=[1.0] * 23),
}


@pytest.fixture(scope="module")
def fresh(tiny_model: Path, tiny_sd15: Path) -> Open:
    """The model as it is in its folder, however a merge has changed it before."""
    families = {"sdxl": opened("sdxl", tiny_model), "sd15": opened("sd15", tiny_sd15)}
    kept = {
        kind: [{name: value.clone() for name, value in part.state_dict().items()} for part in parts(family)]
        for kind, family in families.items()
    }

    def restored(kind: str) -> Family:
        for number, part in enumerate(parts(families[kind])):
            part.load_state_dict(kept[kind][number])
        return families[kind]

    return restored


def parts(family: Family) -> list[nn.Module]:
    return [family.unet, *family.text_encoders]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_merged_file_is_the_network_at_that_strength(name: str, fresh: Open, tmp_path: Path) -> None:
    family, file = fresh("sdxl"), tmp_path / "network.safetensors"
    with moved(family, NETWORKS[name]) as network:
        save(file, network.state_dict(), {}, torch.float32)
        network.set_strength(0)
        base = predicted(family)
        network.set_strength(-0.7)
        wanted = predicted(family)
    assert (wanted - base).abs().max() > 0.01
    merge(family, [file], [-0.7])
    torch.testing.assert_close(predicted(family), wanted, rtol=2e-4, atol=2e-4)


def test_sd_15_merges_its_own_files_text_encoder_included(fresh: Open, tmp_path: Path) -> None:
    family, file = fresh("sd15"), tmp_path / "network.ckpt"
    with moved(family, options("locon", text_encoders=True)) as network:
        save(file, network.state_dict(), {}, torch.float32)
        wanted = predicted(family)
    merged = fresh("sd15")
    merge(merged, [file], [1.0])
    torch.testing.assert_close(predicted(merged), wanted, rtol=2e-4, atol=2e-4)


def test_several_files_are_merged_one_after_another(fresh: Open, tmp_path: Path) -> None:
    family, files = fresh("sdxl"), [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file, kind in zip(files, ("locon", "lokr"), strict=True):
        with moved(family, options(kind)) as network:
            save(file, network.state_dict(), {}, torch.float16)
    merge(family, files, [0.5, 2.0])
    together = predicted(family)
    family = fresh("sdxl")
    base = predicted(family)
    for file, multiplier in zip(files, [0.5, 2.0], strict=True):
        merge(family, [file], [multiplier])
    assert torch.equal(predicted(family), together)
    merge(family, files, [-0.5, -2.0])
    torch.testing.assert_close(predicted(family), base, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [LoConModule, LohaModule, LokrModule])
def test_lycoris_own_modules_are_read_as_it_means_them(kind: Any, fresh: Open, tmp_path: Path) -> None:
    """LyCORIS makes the modules, their file and the weights that they stand for; here only the file is read."""
    family, file = fresh("sdxl"), tmp_path / "network.safetensors"
    layers = dict(family.unet.named_modules())
    chosen = {name: layers[name] for name in ("down_blocks.0.resnets.0.conv1", "mid_block.attentions.0.proj_in")}
    keys = unet_layers(shapes(family.unet), "full", family.facts.layout)
    tensors: dict[str, Tensor] = {}
    wanted: dict[str, Tensor] = {}
    torch.manual_seed(1)
    for name, layer in chosen.items():
        module = kind(keys[name], layer, 1.0, 4, 2.0)
        for parameter in module.parameters():
            parameter.data += 0.05 * torch.randn(parameter.shape)
        tensors |= {f"{keys[name]}.{key}": value.clone() for key, value in module.custom_state_dict().items()}
        update = module.make_weight() * module.scale if kind is LoConModule else module.get_weight(module.shape)
        wanted[name] = layer.weight + update.view(layer.weight.shape)
    save_file({name: value.detach().contiguous() for name, value in tensors.items()}, file)
    merge(family, [file], [1.0])
    for name, weight in wanted.items():
        assert isinstance(chosen[name], nn.Linear | nn.Conv2d)
        torch.testing.assert_close(chosen[name].weight.data, weight.detach())


def test_a_file_with_diffusers_names_is_taken_for_sdxl(fresh: Open, tmp_path: Path) -> None:
    family, file, other = fresh("sdxl"), tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    names = {key: name for name, key in unet_layers(shapes(family.unet), "full", family.facts.layout).items()}
    with moved(family, options("locon")) as network:
        state = {name: value.clone() for name, value in network.state_dict().items()}
    save_file(state, file)
    renamed = {}
    for name, value in state.items():
        key, _, tensor = name.partition(".")
        renamed[f"lora_unet_{names[key]}".replace(".", "_") + f".{tensor}"] = value
    save_file(renamed, other)
    merged = []
    for path in (file, other):
        merge(fresh("sdxl"), [path], [1.0])
        merged.append(predicted(family))
    assert torch.equal(merged[0], merged[1])


def test_kohyas_layers_without_alpha_count_with_their_rank(fresh: Open, tmp_path: Path) -> None:
    family, file = fresh("sd15"), tmp_path / "network.safetensors"
    key = "lora_unet_mid_block_attentions_0_proj_in"
    layer = family.unet.get_submodule("mid_block.attentions.0.proj_in")
    up, down = torch.randn(64, 3), torch.randn(3, 64)
    save_file({f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}, file)
    wanted = layer.get_parameter("weight") + 0.5 * (up @ down)[:, :, None, None]
    merge(family, [file], [0.5])
    torch.testing.assert_close(layer.get_parameter("weight").data, wanted.detach())


def test_what_cannot_be_merged_is_named(fresh: Open, tmp_path: Path) -> None:
    family, file = fresh("sdxl"), tmp_path / "network.safetensors"
    with moved(family, options("diag-oft")) as network:
        save(file, network.state_dict(), {}, torch.float32)
    with pytest.raises(UserError, match="oft layers, which cannot be merged") as caught:
        merge(family, [file], [1.0])
    assert caught.value.key == "model.base_weights"


def test_tensors_read_for_their_update_hold_its_scale(fresh: Open, tmp_path: Path) -> None:
    family, file = fresh("sdxl"), tmp_path / "network.safetensors"
    with moved(family, options("locon", dim=8, alpha=2.0)) as network:
        state: dict[str, Tensor] = {name: value.clone() for name, value in network.state_dict().items()}
    save(file, state, {}, torch.float32)
    key = "lora_unet_input_blocks_4_1_proj_in"
    held = read("network.weights", file, family.facts)
    found = {key: scaled_tensors(held[key], torch.device("cpu"))}
    assert set(found[key]) == {"lora_up.weight", "lora_down.weight"}
    torch.testing.assert_close(found[key]["lora_up.weight"], state[f"{key}.lora_up.weight"] / 4)
    assert torch.equal(found[key]["lora_down.weight"], state[f"{key}.lora_down.weight"])
