"""Keys and values of captions that are computed once serve every pass and every sample that shares a caption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from sweeplora.models.captions_once import captions_once
from sweeplora.models.family import Family, Text
from tests.models import families
from tests.networks.models import moved
from tests.networks.options import options

CAPTIONS = ["a red shape", "a tall one", "a red shape", "a red shape"]


@pytest.fixture(scope="module")
def family(tiny_model: Path) -> Family:
    return families.load(tiny_model)


def predicted(family: Family, text: Text, timestep: int) -> Tensor:
    """The prediction for four fixed latents."""
    noisy = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(timestep))
    sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]] * 4)
    return family.predict(noisy, torch.full((4,), timestep), text, sizes)


def counting(layer: nn.Module, rows: list[int]) -> Callable[[Tensor], Tensor]:
    inner = layer.forward

    def forward(x: Tensor) -> Tensor:
        rows.append(len(x))
        output: Tensor = inner(x)
        return output

    return forward


@pytest.mark.parametrize("name", ["locon", "loha"])
@torch.no_grad()
def test_equal_captions_are_projected_once_and_every_pass_gets_the_same_numbers(name: str, family: Family) -> None:
    crossing = next(m for m in family.unet.modules() if isinstance(m, Attention) and m.is_cross_attention)
    layer: nn.Module = crossing.to_k
    text, rows = family.encode_text(CAPTIONS), list[int]()
    with moved(family, options(name)) as network, network.merged():
        wanted = [predicted(family, text, timestep) for timestep in (7, 500)]
        own = layer.forward
        layer.forward = counting(layer, rows)
        with captions_once(family.unet) as once:
            once.are(text.hidden, CAPTIONS)
            found = [predicted(family, text, timestep) for timestep in (7, 500)]
            other = Text(text.hidden.flip(0), text.pooled)
            flipped = predicted(family, other, 7)
            once.are(text.hidden, range(4))
            again = predicted(family, text, 500)
        assert rows == [2, 4, 4]  # once for two passes; what is not announced, and what is all different, whole
        assert predicted(family, other, 7).equal(flipped) and rows == [2, 4, 4, 4]
        layer.forward = own
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        assert torch.equal(again, wanted[1]) and not torch.equal(flipped, wanted[0])
    assert not any("forward" in vars(module) for module in family.unet.modules())


def test_a_compiled_unet_is_left_as_it_is(tiny_model: Path) -> None:
    family = families.load(tiny_model)
    family.unet.compile(backend="eager")
    with captions_once(family.unet):
        assert not any("forward" in vars(module) for module in family.unet.modules())
