"""A finished file, in a fresh pipeline of diffusers, makes the picture that the training drew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from diffusers.schedulers import EulerAncestralDiscreteScheduler
from lycoris.modules import get_module, make_module
from lycoris.modules.locon import LoConModule
from PIL import Image
from safetensors.torch import load_file

from sweeplora.models.sdxl import LAYOUT
from sweeplora.networks.keys import unet_layers
from tests.run.trainings import Trainings

NETWORKS = {
    "locon": ("network=locon",),
    "locon-encoders": ("network=locon", "network.text_encoders=true"),
    "loha": ("network=loha",),
    "lokr": ("network=lokr", "network.factor=4"),
    "lokr-full": ("network=lokr", "network.dim=100000"),
    "dora": ("network=dora",),
}
FEW = ("locon-encoders", "dora")


def pipeline(model: Path) -> Any:
    loaded = StableDiffusionXLPipeline.from_pretrained(model)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def pictures(pipe: Any) -> list[np.ndarray]:
    """The two prompts of the tests' trainings, written out in diffusers' own words."""
    config = pipe.scheduler.config
    schedule = {key: config[key] for key in ("beta_start", "beta_end", "beta_schedule")}
    pipe.scheduler = EulerAncestralDiscreteScheduler(**schedule)
    first = pipe(
        "shape 3, ellipse",
        num_inference_steps=4,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    pipe.scheduler = DDIMScheduler(**schedule, clip_sample=False)
    second = pipe(
        "a tall one",
        negative_prompt="dull",
        width=48,
        height=80,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(6),
        output_type="np",
    ).images[0]
    return [first * 255, second * 255]


@pytest.mark.parametrize(
    "kind", [kind if kind in FEW else pytest.param(kind, marks=pytest.mark.slow) for kind in NETWORKS]
)
def test_a_file_makes_the_trainers_own_pictures_elsewhere(kind: str, trainings: Trainings, tiny_model: Path) -> None:
    run = trainings.train(
        f"file-{kind}", *NETWORKS[kind], "train.epochs=1", "train.save_precision=fp32", "optimizer.lr=0.02"
    )
    file = run.weights / "test.safetensors"
    assert file.exists(), run.log.read_text()[-2000:]
    drawn = [np.asarray(Image.open(path), np.float32) for path in sorted(run.samples.iterdir())]
    pipe = pipeline(tiny_model)
    if kind.startswith("locon"):
        untrained = pictures(pipe)
        pipe.load_lora_weights(file)
        loaded = pictures(pipe)
        # The network must have moved the pictures, or equality would prove nothing.
        assert all(np.abs(a - b).max() > 4 for a, b in zip(untrained, loaded, strict=True))
    else:
        merge(pipe, file)
        loaded = pictures(pipe)
    for ours, theirs in zip(drawn, loaded, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1.5


def merge(pipe: Any, file: Path) -> None:
    """Merge a file with LyCORIS' own code, layer by layer."""
    tensors = load_file(file)
    layers = dict(pipe.unet.named_modules())
    shapes = {
        name: tuple(layer.weight.shape)
        for name, layer in layers.items()
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)
    }
    merged = 0
    for name, key in unet_layers(shapes, "full", LAYOUT).items():
        if f"{key}.dora_scale" in tensors:
            module = per_input_dora(tensors, key, layers[name])
        else:
            kind, parameters = get_module(tensors, key)
            module = make_module(kind, parameters, key, layers[name])
        module.merge_to(1.0)
        merged += 1
    assert merged == len({name.split(".")[0] for name in tensors})


def per_input_dora(tensors: dict[str, torch.Tensor], key: str, layer: torch.nn.Module) -> LoConModule:
    """LyCORIS' loader takes every DoRA for one with norms per output; ours are per input, as web UIs read them."""
    mine = {name.removeprefix(f"{key}."): value for name, value in tensors.items() if name.startswith(f"{key}.")}
    rank, alpha = len(mine["lora_down.weight"]), float(mine["alpha"])
    module = LoConModule(key, layer, 1.0, rank, alpha, weight_decompose=True, wd_on_out=False)
    module.load_state_dict(mine, strict=False)
    return module
