"""docs/loaders.md says of each kind of file whether diffusers loads it: tried with diffusers itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from torch import Tensor

from sweeplora.models.family import Family
from sweeplora.networks.file.write import save
from sweeplora.networks.network import attach
from tests.networks.models import opened
from tests.networks.options import KINDS, options

PAGE = (Path(__file__).parents[3] / "docs" / "loaders.md").read_text()
CASES: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    ("locon", {"use_tucker": True}),
    ("locon", {"train_norm": True}),
    ("lokr", {"use_tucker": True}),
]


def promised(kind: str, changes: dict[str, Any]) -> str:
    """The cell of the page in the column of diffusers."""
    row = "train_norm" if changes.get("train_norm") else kind
    lines = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")]
    (cell,) = (cells[2].strip() for cells in lines if row in cells[1].split(":")[0].replace(",", " ").split(" also")[0])
    return cell


def predicted(unet: Any) -> Tensor:
    """What a U-Net makes of one fixed input."""
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    hidden = torch.full((1, 7, unet.config.cross_attention_dim), 0.1)
    added = {"text_embeds": torch.ones(1, 24), "time_ids": torch.ones(1, 6)}
    with torch.no_grad():
        sample: Tensor = unet(noisy, torch.tensor([5]), hidden, added_cond_kwargs=added).sample
    return sample


@pytest.fixture(scope="module")
def family(tiny_model: Path) -> Family:
    """The model; who attaches a network detaches it."""
    return opened("sdxl", tiny_model)


@pytest.fixture(scope="module")
def whole(tiny_model: Path) -> Any:
    """A pipeline of diffusers."""
    return StableDiffusionXLPipeline.from_pretrained(tiny_model)


@pytest.fixture
def pipeline(whole: Any) -> Iterator[Any]:
    """The pipeline, which loses what a test loads into it."""
    yield whole
    whole.unload_lora_weights()


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_diffusers_does_with_a_file_what_the_page_says(
    kind: str, changes: dict[str, Any], family: Family, pipeline: Any, tmp_path: Path
) -> None:
    base = predicted(family.unet)
    assert torch.equal(predicted(pipeline.unet), base)
    torch.manual_seed(1)
    network = attach(family, options(kind, **changes), 0)
    with torch.no_grad():
        for parameter in network.parameters("unet"):
            parameter.add_(0.05 * torch.randn(parameter.shape))
    network.train(False)
    ours = predicted(family.unet)
    assert (ours - base).abs().max() > 0.05  # or equality would prove nothing
    file = tmp_path / "network.safetensors"
    save(file, network.state_dict(), {}, torch.float32)
    network.detach()
    cell = promised(kind, changes)
    if cell == "no" or "refuses" in cell:
        with pytest.raises(ValueError, match="not been correctly renamed"):
            pipeline.load_lora_weights(file)
        return
    pipeline.load_lora_weights(file)
    difference = float((predicted(pipeline.unet) - ours).abs().max())
    assert difference < 1e-4 if cell == "yes" else difference > 0.05, cell
