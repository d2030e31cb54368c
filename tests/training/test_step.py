"""One training step against sd-scripts: its loss and its gradients from equal weights, latents, noise, timesteps."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Generator, Tensor

from sweeplora.config.compose import compose
from sweeplora.data.batches import Item
from sweeplora.data.loader import Loaded
from sweeplora.errors import UserError
from sweeplora.models import tiny
from sweeplora.models.family import Text
from sweeplora.models.layout import original_names
from sweeplora.networks.network import Network, attach
from sweeplora.training.distributed import Processes
from sweeplora.training.groups import build_groups
from sweeplora.training.loop import Trainer
from sweeplora.training.stop import Stop
from sweeplora.training.train import build_trainer

EXPECTED = json.loads((Path(__file__).parents[1] / "expected" / "step.json").read_text())["cases"]
TIMESTEPS = (3, 400, 985)
LOCON = ("network=locon", "network.dim=4", "network.alpha=2", "network.conv_dim=2", "network.conv_alpha=1")
CASES = {
    "locon epsilon": LOCON,
    "locon v debiased": (*LOCON, "model.prediction=v_prediction", "loss.debiased=true"),
    "locon v zero-snr": (*LOCON, "model.prediction=v_prediction", "model.zero_terminal_snr=true"),
    "locon huber min-snr": (*LOCON, "loss=mse", "loss.kind=huber", "loss.min_snr_gamma=5"),
    "lokr epsilon": ("network=lokr", "network.dim=4", "network.alpha=2", "network.factor=4"),
    "loha epsilon": ("network=loha", "network.dim=2", "network.alpha=2"),
    "dora epsilon": ("network=dora", "network.dim=4", "network.alpha=2"),
}


def seeded(name: str, shape: Sequence[int]) -> Tensor:
    """Normal numbers that follow from a name, here as where the expected numbers were made."""
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:12], 16)
    return torch.randn(tuple(shape), generator=Generator().manual_seed(seed))


def weight(name: str, shape: Sequence[int]) -> Tensor:
    if len(shape) == 1:
        return 0.05 * seeded(name, shape) if name.endswith("bias") else 1 + 0.1 * seeded(name, shape)
    return seeded(name, shape) * float(math.prod(shape[1:]) ** -0.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose U-Net has SDXL's structure and the expected numbers' weights."""
    folder = tiny.build(tmp_path_factory.mktemp("step") / "model")
    config = json.loads((folder / "unet" / "config.json").read_text()) | {
        "block_out_channels": [64, 128, 256],
        "attention_head_dim": [1, 2, 4],
        "transformer_layers_per_block": [1, 1, 2],
        "norm_num_groups": 32,
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": tiny.POOLED + 6 * 256,
    }
    unet = UNet2DConditionModel.from_config(config)
    modules = {name for name, module in unet.named_modules() if any(True for _ in module.parameters(recurse=False))}
    originals = original_names(modules)
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            module, _, leaf = name.rpartition(".")
            parameter.copy_(weight(f"{originals[module]}.{leaf}", parameter.shape))
    unet.save_pretrained(folder / "unet")
    return folder


def set_up(model: Path, overrides: Sequence[str]) -> Trainer:
    """A trainer that meets the expected numbers' noise and timesteps."""
    config: dict[str, Any] = compose([f"model.path={model}", *overrides]).config
    stop = Stop(None)
    stop.close()  # this process's signals are left alone
    processes = Processes("no", "cpu", stop)
    groups = build_groups(config)
    family = groups.model.load(torch.device("cpu"))
    network = attach(family, groups.algorithm, groups.seed)
    network.train(True)
    fill(network)
    return build_trainer(groups, family, network, processes)


def fill(network: Network) -> None:
    """Set the network's weights; layers that the reference's preset leaves out do nothing."""
    for name, tensor in network.trained_tensors().items():
        outside = name.startswith(("lora_unet_time_embed", "lora_unet_label_emb", "lora_unet_out_"))
        outside = outside or name.startswith("lora_unet_input_blocks_0_0.")
        if "dora_scale" not in name:
            tensor.copy_(torch.zeros(()) if outside else 0.05 * seeded(name, tensor.shape))


def losses(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    count = len(TIMESTEPS)
    noise = seeded("noise", (count, 4, 16, 16))
    hidden = torch.cat([seeded("hidden1", (count, 77, 32)), seeded("hidden2", (count, 77, 48))], dim=-1)
    text = Text(hidden, seeded("pooled", (count, 24)))
    loaded = Loaded(
        items=tuple(Item(index, 0) for index in range(count)),
        sizes=torch.tensor([[120.0, 140, 3, 5, 128, 128]] * count),
        captions=("",) * count,
        weights=torch.ones(count),
        mask=None,
        encode=lambda _: text,
        draw=lambda: seeded("latents", (count, 4, 16, 16)),
    )
    monkeypatch.setattr("sweeplora.training.loop.uniform", lambda *_: torch.tensor(TIMESTEPS))
    monkeypatch.setattr(Trainer, "_noise", lambda *_: (noise, noise))
    return trainer.losses(loaded, epoch=1)


@pytest.mark.parametrize(("key", "part"), [("loss", torch.square), ("loss", torch.mean), ("noise", torch.sum)])
def test_a_part_of_ones_own_that_returns_another_shape_is_refused(
    key: str, part: Callable[[Tensor], Tensor], model: Path
) -> None:
    trainer = set_up(model, LOCON)
    own: Any = {key: lambda first, *_: part(first)}
    trainer.step_settings = replace(trainer.step_settings, **own)
    loaded = Loaded(
        items=(Item(0, 0), Item(1, 0)),
        sizes=torch.tensor([[128.0, 128, 0, 0, 128, 128]] * 2),
        captions=("", ""),
        weights=torch.ones(2),
        mask=None,
        encode=trainer.family.encode_text,
        draw=lambda: seeded("latents", (2, 4, 16, 16)),
    )
    with pytest.raises(UserError, match="it must be") as caught:
        trainer.losses(loaded, epoch=1)
    assert caught.value.key == key


@pytest.mark.parametrize("case", CASES)
def test_a_step_has_the_references_loss_and_gradients(case: str, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = EXPECTED[case]
    trainer = set_up(model, CASES[case])
    loss = losses(trainer, monkeypatch).mean()
    loss.backward()
    assert loss.item() == pytest.approx(expected["loss"], rel=2e-5)

    gradients = {
        f"{key}.{name}": parameter.grad
        for key, module in trainer.network.modules.items()
        for name, parameter in module.named_parameters()
    }
    scale = expected["norm"] / math.sqrt(expected["count"])
    for name, probe in expected["probes"].items():
        gradient = gradients[name]
        assert gradient is not None
        found = float((gradient * seeded(f"probe {name}", gradient.shape)).sum())
        assert found == pytest.approx(probe, rel=2e-3, abs=2e-3 * scale), name
