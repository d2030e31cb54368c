"""A model in one file is the same model as its diffusers folder, and a file that is none is refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load_file, save_file

from sweeplora.errors import UserError
from sweeplora.models import tiny
from sweeplora.models.family import Family
from tests.models import families, originals_of
from tests.models.families import CPU

MAKE: dict[str, Callable[..., Any]] = {"sdxl": families.sdxl, "sd15": families.sd15}
KINDS: tuple[Literal["sdxl", "sd15"], ...] = ("sdxl", "sd15")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models with CLIP's whole vocabulary, as folders."""
    root = tmp_path_factory.mktemp("folders")
    return {kind: tiny.build(root / kind, kind, clip=True) for kind in KINDS}


@pytest.fixture(scope="module")
def whole(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same models, each as one file."""
    root = tmp_path_factory.mktemp("files")
    return {kind: originals_of.write(folders[kind], root / f"{kind}.safetensors") for kind in KINDS}


@pytest.fixture
def tensors(whole: dict[str, Path]) -> dict[str, torch.Tensor]:
    """What the SDXL file holds, free to be changed."""
    return dict(load_file(whole["sdxl"]))


def same_weights(one: Family, other: Family) -> bool:
    pairs = [(one.unet, other.unet), (one.vae, other.vae), *zip(one.text_encoders, other.text_encoders, strict=True)]
    states = [(a.state_dict(), b.state_dict()) for a, b in pairs]
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in states)


def computed(model: Family) -> list[torch.Tensor]:
    """Every part's output for fixed inputs."""
    draw = torch.Generator().manual_seed(3)
    noisy, pixels = torch.randn(2, 4, 16, 24, generator=draw), torch.rand(1, 3, 32, 48, generator=draw)
    sizes = torch.tensor([[64.0, 96.0, 3.0, 0.0, 64.0, 96.0]] * 2)
    with torch.no_grad():
        text = model.encode_text(["a cat, sitting", "tok " * 90])
        prediction = model.predict(noisy, torch.tensor([3, 900]), text, sizes)
        return [*text, prediction, *model.encode_images(pixels), model.decode(noisy)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_one_file_computes_bit_for_bit_what_its_folder_does(
    kind: str, suffix: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    file = originals_of.write(folders[kind], tmp_path / f"model.{suffix}")
    scaling = MAKE[kind](folders[kind]).facts().vae.config["scaling_factor"]
    one, other = MAKE[kind](folders[kind]).load(CPU), MAKE[kind](file).load(CPU)
    assert same_weights(one, other)
    mine, theirs = computed(one), computed(other)
    ratio = scaling / {"sdxl": 0.13025, "sd15": 0.18215}[kind]
    assert all(torch.equal(a, b) for a, b in zip(mine[:3], theirs[:3], strict=True))
    torch.testing.assert_close(mine[3:5], [ratio * tensor for tensor in theirs[3:5]])
    assert one.unconditional(1).hidden.shape == other.unconditional(1).hidden.shape


@pytest.mark.parametrize("kind", KINDS)
def test_a_files_facts_are_its_folders(kind: str, folders: dict[str, Path], whole: dict[str, Path]) -> None:
    folder, file = MAKE[kind](folders[kind]).facts(), MAKE[kind](whole[kind]).facts()
    assert file.unet_shapes() == folder.unet_shapes()
    assert file.encoder_shapes() == folder.encoder_shapes()
    assert (file.scale_factor, file.divisor, file.latent_channels) == (4, {"sdxl": 16, "sd15": 32}[kind], 4)
    assert (file.prediction, file.force_zeros) == (folder.prediction, folder.force_zeros)
    assert whole[kind] in file.files and all(path.is_file() for path in file.files)


def test_half_precision_becomes_float32(folders: dict[str, Path], tmp_path: Path) -> None:
    whole = families.sd15(folders["sd15"]).load(CPU).unet.state_dict()
    for dtype, suffix in ((torch.float16, "safetensors"), (torch.bfloat16, "ckpt")):
        file = originals_of.write(folders["sd15"], tmp_path / f"half.{suffix}", dtype)
        for name, tensor in families.sd15(file).load(CPU).unet.state_dict().items():
            assert tensor.dtype == torch.float32
            assert torch.equal(tensor, whole[name].to(dtype).float())


def test_an_older_file_without_text_model_in_its_names_loads(whole: dict[str, Path], tmp_path: Path) -> None:
    older = {name.replace(".text_model.", "."): tensor for name, tensor in load_file(whole["sd15"]).items()}
    save_file(older, tmp_path / "older.safetensors")
    assert same_weights(families.sd15(tmp_path / "older.safetensors").load(CPU), families.sd15(whole["sd15"]).load(CPU))


def test_a_file_marked_as_v_prediction_is_taken_for_what_it_is(tensors: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "noob.safetensors"
    save_file({**tensors, "v_pred": torch.tensor([])}, file)
    facts = families.sdxl(file).facts()
    assert (facts.prediction, facts.scheduler["rescale_betas_zero_snr"]) == ("v_prediction", False)
    assert families.sdxl(file, prediction="epsilon").facts().prediction == "epsilon"
    save_file({**tensors, "v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}, file)
    assert families.sdxl(file).load(CPU).alphas_cumprod[-1] == 0
    with pytest.raises(UserError, match=r"the model's own schedule has it and needs model\.prediction=v_prediction"):
        families.sdxl(file, prediction="epsilon").facts()


def lora(model: dict[str, Any]) -> dict[str, Any]:
    return {"lora_unet_input_blocks_4_1_proj_in.lora_down.weight": torch.zeros(2, 2)}


def renamed(old: str, new: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda model: {name.replace(old, new): tensor for name, tensor in model.items()}


def inpainting(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)}


def without(*parts: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda model: {name: tensor for name, tensor in model.items() if not any(part in name for part in parts)}


def other_vocabulary(model: dict[str, Any]) -> dict[str, Any]:
    name = "conditioner.embedders.1.model.token_embedding.weight"
    return {**model, name: torch.zeros(49410, 48)}


def deeper(model: dict[str, Any]) -> dict[str, Any]:
    return {**model, "model.diffusion_model.input_blocks.9.0.op.weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lora, "it is a LoRA"),
        (renamed("conditioner.embedders.1.", "cond_stage_model."), "it is a Stable Diffusion 2 model"),
        (without("conditioner.embedders.0.", "label_emb"), "it is an SDXL model"),
        (renamed("embedders.0.transformer", "embedders.0.model"), "it is an SDXL refiner"),
        (renamed("input_blocks.", "double_blocks."), "lacks"),
        (lambda _: {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": torch.zeros(1)}, "it is a Flux model"),
        (lambda _: {"model.diffusion_model.joint_blocks.0.x": torch.zeros(1)}, "it is a Stable Diffusion 3 model"),
        (without("conditioner"), "it is a U-Net without text encoders"),
        (without("conditioner", "diffusion_model"), "it is a VAE alone"),
        (inpainting, "its U-Net takes 9 channels"),
        (without("input_blocks.4.1.proj_in"), "lacks 2 of"),
        (without("attn_1.q."), "first encoder.mid_block.attentions.0.to_q.weight"),
        (without("embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1"), "layers.0.mlp.fc1.weight"),
        (without("resblocks.1.attn.in_proj_bias"), "lacks 3 of"),
        (without("label_emb"), "the file lacks add_embedding.linear_1.weight"),
        (other_vocabulary, "its text encoder knows 49410 tokens"),
        (deeper, "1 tensors that SDXL's has not"),
        (lambda _: {"some.weight": torch.zeros(1)}, "a file without any part of a model"),
    ],
)
def test_a_file_that_is_no_such_model_is_named(
    change: Callable[[dict[str, Any]], dict[str, Any]], words: str, tensors: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "model.safetensors"
    save_file(change(tensors), file)
    with pytest.raises(UserError) as caught:
        families.sdxl(file).facts()
    assert caught.value.key == "model.path"
    assert words in str(caught.value)


def test_a_file_without_a_vae_takes_another(folders: dict[str, Path], tensors: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file(without("first_stage_model")(tensors), file)
    with pytest.raises(UserError, match=r"it holds no VAE; give one with model\.vae"):
        families.sdxl(file).facts()
    model = families.sdxl(file, vae=str(folders["sdxl"])).load(CPU)
    assert same_weights(model, families.sdxl(folders["sdxl"]).load(CPU))


def test_a_file_of_the_other_family_is_named(whole: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="it is an SDXL model; give an SD"):
        families.sd15(whole["sdxl"]).facts()
    with pytest.raises(UserError, match=r"it is an SD 1\.5 model; give an SDXL"):
        families.sdxl(whole["sd15"]).facts()


def test_a_file_that_is_cut_short_or_of_another_kind_is_refused(whole: dict[str, Path], tmp_path: Path) -> None:
    cut, other = tmp_path / "cut.safetensors", tmp_path / "model.onnx"
    cut.write_bytes(whole["sd15"].read_bytes()[:-100])
    other.write_bytes(b"")
    for file, words in (
        (cut, "truncated"),
        (other, "give a diffusers folder, a .safetensors"),
        (tmp_path / "no", "exist"),
    ):
        with pytest.raises(UserError, match=words):
            families.sd15(file).facts()


def test_facts_of_a_file_need_no_torch(folders: dict[str, Path], tmp_path: Path) -> None:
    file = originals_of.write(folders["sd15"], tmp_path / "model.ckpt")
    code = (
        "import sys\nfrom sweeplora.config.instantiate import build\nfrom sweeplora.config.compose import compose\n"
        f"build(compose(['model=sd15', 'model.path={file}']).config['model']).facts()\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'diffusers', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
