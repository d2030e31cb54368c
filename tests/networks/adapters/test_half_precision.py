"""Layers in half precision: gradients against float64, the number of large products, and what they compose with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from sweeplora.models import eight_bits
from tests.networks.attached import Layer, adapter
from tests.networks.options import options

KINDS: dict[str, Any] = {
    "locon": options("locon", dim=8, alpha=4.0),
    "locon-rebuilt": options("locon", dim=8, alpha=4.0, bypass_mode=False),
    "dora": options("locon", dim=8, alpha=4.0, dora=True),
    "dora-output": options("locon", dim=8, alpha=4.0, dora=True, wd_on_output=True),
    "loha": options("loha", dim=4, alpha=4.0),
    "loha-large-rank": options("loha", dim=32, alpha=4.0),
    "loha-tucker": options("loha", dim=4, alpha=4.0, use_tucker=True),
    "loha-dora": options("loha", dim=4, alpha=4.0, dora=True),
    "lokr": options("lokr", dim=8, alpha=4.0, bypass_mode=False),
    "lokr-dora": options("lokr", dim=8, alpha=4.0, dora=True),
    "glora-rebuilt": options("glora", dim=8, alpha=4.0, bypass_mode=False),
    "full": options("full"),
}
LAYERS: dict[str, Callable[[], Layer]] = {
    "linear": lambda: nn.Linear(256, 512),
    "conv": lambda: nn.Conv2d(96, 160, 3, stride=2, padding=1),
}
LYCORIS = ("locon", "locon-rebuilt", "dora", "dora-output", "loha", "loha-large-rank", "lokr", "lokr-dora")


def seeded(shape: str, dtype: torch.dtype = torch.bfloat16) -> tuple[Layer, Tensor]:
    """A frozen layer and an input for it."""
    torch.manual_seed(3)
    layer = LAYERS[shape]().requires_grad_(False).to(dtype)
    sides = (2, 96, 12, 12) if isinstance(layer, nn.Conv2d) else (2, 64, 256)
    return layer, torch.randn(sides).bfloat16().to(dtype)


def gradients(run: Callable[[Tensor], Tensor], made: Any, x: Tensor) -> dict[str, Tensor]:
    """Output and gradients of a fixed weighted sum of it, by name."""
    x = x.detach().requires_grad_()
    output = run(x)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(4)).bfloat16()
    named = {name: one for name, one in made.module.named_parameters() if one.requires_grad}
    made.module.zero_grad()
    torch.autograd.backward((output * weights.to(output.dtype)).sum())
    found = {name: one.grad for name, one in named.items() if one.grad is not None}
    return {"output": output.detach(), "x": x.grad, **found}


def exact(kind: Any, layer: Layer, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The same numbers computed in float64 throughout, by the float32 formula of the adapter."""
    wide = copy.deepcopy(layer).double()
    made = adapter(kind, copy.deepcopy(layer), move=0.05)
    made.module.double()
    made.detach()
    made._layer = wide
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    monkeypatch.setattr("sweeplora.networks.adapters.products.torch.float32", torch.float64)
    bias = wide.bias if kind is not KINDS["full"] else wide.bias + made.module.bias
    weight = made.whole
    found = gradients(lambda x: made._kind(x, weight(), bias, **made._options), made, x.double())
    monkeypatch.undo()
    return found


def errors(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, float]:
    return {
        name: float((found[name].double() - one.double()).norm() / one.double().norm())
        for name, one in wanted.items()
        if name in found and one.norm() > 0
    }


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", LYCORIS)
def test_gradients_are_no_further_from_float64_than_lycoris_own(
    kind: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, x = seeded(shape)
    wanted = exact(KINDS[kind], layer, x, monkeypatch)
    made = adapter(KINDS[kind], layer, move=0.05)
    ours = errors(gradients(layer, made, x), wanted)
    made.detach()
    with torch.autocast("cpu", torch.bfloat16):
        theirs = errors(gradients(made.module.forward, made, x), wanted)
    assert ours.keys() == wanted.keys() and len(ours) >= 4
    for name, error in ours.items():
        assert error <= 1.05 * theirs[name], (name, error, theirs[name])


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize(
    ("kind", "most"), [("full", 4.0), ("lokr", 4.0), ("dora", 3.3), ("loha", 2.8), ("dora-output", 4.3)]
)
def test_a_step_takes_four_large_products_or_fewer(kind: str, most: float, shape: str) -> None:
    """What is over a whole number builds small factors; apart, layer and update would take five."""
    layer, x = seeded(shape)
    x = x.repeat(8, *[1] * (x.dim() - 1))
    with FlopCounterMode(display=False) as once:
        layer(x)
    made = adapter(KINDS[kind], layer)
    with FlopCounterMode(display=False) as counted:
        gradients(layer, made, x)
    assert 2 < counted.get_total_flops() / once.get_total_flops() <= most


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", ["dora", "loha", "loha-large-rank", "loha-dora", "full"])
def test_recomputed_activations_and_a_first_layer_give_the_same_gradients(kind: str, shape: str) -> None:
    layer, x = seeded(shape)
    made = adapter(KINDS[kind], layer)
    plain = gradients(layer, made, x)
    for reentrant in (False, True):
        again = gradients(partial(checkpoint, layer, use_reentrant=reentrant), made, x)
        assert all(torch.equal(again[name], one) for name, one in plain.items())
    weights = torch.randn(plain["output"].shape, generator=torch.Generator().manual_seed(4)).bfloat16()
    made.module.zero_grad()
    torch.autograd.backward((layer(x) * weights).sum())
    parameters = dict(made.module.named_parameters())
    assert all(torch.equal(parameters[name].grad, plain[name]) for name in plain.keys() & parameters.keys())


@pytest.mark.parametrize("shape", LAYERS)
@pytest.mark.parametrize("kind", ["dora", "loha", "loha-tucker", "lokr-dora", "glora-rebuilt", "full"])
@pytest.mark.parametrize("base", ["float32", "fp8", "bf16 network"])
def test_autocast_eight_bits_and_a_narrow_network_give_nearly_the_same_gradients(
    kind: str, base: str, shape: str
) -> None:
    layer, x = seeded(shape, torch.float32)
    if base == "fp8":
        eight_bits.store(nn.ModuleList([layer]))
        wide, _ = seeded(shape, torch.float32)
        wide.weight.data = layer.weight.clone()
    else:
        wide = copy.deepcopy(layer)
    narrow = layer.to(torch.bfloat16) if base == "bf16 network" else layer
    wanted = gradients(wide, adapter(KINDS[kind], wide), x)
    made = adapter(KINDS[kind], narrow)
    if base == "bf16 network":
        made.module.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradients(narrow, made, x)
    assert found["output"].dtype == torch.bfloat16 and found.keys() == wanted.keys()
    assert max(errors(found, wanted).values()) < (0.03 if base == "bf16 network" else 0.012)


@pytest.mark.parametrize("kind", ["loha", "loha-large-rank", "lokr", "full"])
def test_grouped_and_dilated_convolutions_keep_their_geometry(kind: str) -> None:
    torch.manual_seed(3)
    layer = nn.Conv2d(32, 48, 3, padding=2, dilation=2, groups=4).requires_grad_(False)
    wide, x = copy.deepcopy(layer), torch.randn(2, 32, 9, 9)
    wanted = gradients(wide, adapter(KINDS[kind], wide), x)
    narrow = layer.to(torch.bfloat16)
    found = gradients(narrow, adapter(KINDS[kind], narrow), x.bfloat16())
    assert max(errors(found, wanted).values()) < 0.012


@pytest.mark.parametrize("kind", ["dora", "loha", "lokr"])
def test_dropped_rows_are_the_same_in_every_precision(kind: str) -> None:
    layer, x = seeded("linear", torch.float32)
    wide = copy.deepcopy(layer)
    name = {"dora": "locon"}.get(kind, kind)
    more = {"dora": True} if kind == "dora" else {}
    algorithm = options(name, dim=4, alpha=4.0, rank_dropout=0.5, rank_dropout_scale=True, **more)
    outputs = []
    for one, dtype in ((wide, torch.float32), (layer.to(torch.bfloat16), torch.bfloat16)):
        made = adapter(algorithm, one)
        made.module.train(True)
        torch.manual_seed(9)
        outputs.append(one(x.to(dtype)).detach().double())
    assert float((outputs[1] - outputs[0]).norm() / outputs[0].norm()) < 0.02


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("loha", "linear"),
        ("lokr", "conv"),
        pytest.param("dora", "linear", marks=pytest.mark.slow),
        pytest.param("dora", "conv", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_layer_is_one_graph_with_the_same_numbers(kind: str, shape: str) -> None:
    torch.compiler.reset()  # each kind and shape counts against a limit on recompiling
    layer, x = seeded(shape)
    made = adapter(KINDS[kind], layer)
    plain = gradients(layer, made, x)
    compiled = gradients(torch.compile(layer, backend="aot_eager", fullgraph=True), made, x)
    torch.compiler.reset()
    assert max(errors(compiled, plain).values()) < 0.01
