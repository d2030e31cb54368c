"""Optimizers of every choice step, groups have their rates, and one buffer a precision holds the gradients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schedulefree
import torch
from torch import nn
from torch.optim import Optimizer
from transformers.optimization import Adafactor, AdafactorSchedule

from sweeplora.check.shape import check_shape
from sweeplora.config import catalog
from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.errors import UserError
from sweeplora.models.family import Family
from sweeplora.networks.network import Network, Trained, attach
from sweeplora.training.optim.current_rates import LearningRates
from sweeplora.training.optim.gradients import FlatGradients
from sweeplora.training.optim.optimizer import make_optimizer, weights_for_use
from sweeplora.training.optim.rates import Rates
from tests.networks.models import opened
from tests.networks.options import options
from tests.training.optim.test_rates import PLAIN

CHOICES = [name for name in catalog.groups(catalog.shipped("conf").parent)["optimizer"] if "8bit" not in name]
NAMED = [
    "torch.optim.Adam",
    "torch.optim.RMSprop",
    "dadaptation.experimental.DAdaptAdamPreprint",
    "dadaptation.DAdaptAdaGrad",
    "dadaptation.DAdaptAdan",
    "dadaptation.experimental.DAdaptAdanIP",
    "dadaptation.DAdaptSGD",
    "schedulefree.SGDScheduleFree",
]
"""Classes that sd-scripts knows by a name of its own, and that have no file here."""


class Few:
    """A network of three parameters: as much as an optimizer sees of one."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.all = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 4), (5,), (2, 2, 2))]

    def trained(self) -> list[Trained]:
        parts = ("unet", "unet", "text_encoder")
        return [Trained(f"k{i}", parts[i], None, False, p) for i, p in enumerate(self.all)]  # type: ignore[arg-type]


def parameters() -> list[nn.Parameter]:
    return Few().all


def optimize(node: dict[str, Any], few: Few, rates: dict[str, Any] = PLAIN) -> Optimizer:
    return make_optimizer(build(node), few, Rates(**rates))  # type: ignore[arg-type]


def descend(
    node: dict[str, Any], steps: int, multiplier: float = 1.0, first: float = 0.0
) -> tuple[list[float], dict[str, float]]:
    """Losses of a least-squares problem over the steps, and the learning rates at the end."""
    few = Few()
    optimizer = optimize(node, few)
    flat, rates = FlatGradients(few.all, extras=1), LearningRates(optimizer)
    losses = []
    for step in range(steps):
        flat.clear()
        loss = sum((one - 3.0).square().mean() for one in few.all)
        assert isinstance(loss, torch.Tensor)
        loss.backward()
        flat.clip(1.0)
        rates.set(multiplier if step else first)
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, rates.current()


@pytest.mark.parametrize("name", [*CHOICES, *(pytest.param(name, marks=pytest.mark.slow) for name in NAMED)])
def test_an_optimizer_learns_through_a_warm_up_that_begins_at_zero(name: str) -> None:
    chosen = [f"optimizer={name}"] if name in CHOICES else ["optimizer=any", f"optimizer._target_={name}"]
    if name.startswith("dadaptation."):
        chosen.append("optimizer.lr=1.0")
    composed = compose([*chosen, "scheduler=adafactor" if name == "adafactor" else "scheduler=constant"])
    check_shape(composed.config)
    # D-Adaptation's descent divides by the first rate; check_optimizer refuses a warm-up with it.
    losses, rates = descend(composed.config["optimizer"], 200, first=float(name == "dadaptation.DAdaptSGD"))
    assert all(map(math.isfinite, losses))
    # Without noise a step size that is found may overshoot later on.
    assert min(losses) < 0.99 * losses[0]
    assert set(rates) == {"lr/unet", "lr/text_encoder"}
    assert all(math.isfinite(rate) and rate > 0 for rate in rates.values())


@pytest.mark.parametrize(("dtype", "names"), [("bfloat16", CHOICES), ("float16", ["adafactor_fixed", "lion", "sgd"])])
def test_a_network_in_half_precision_learns(dtype: str, names: list[str]) -> None:
    for name in names:
        generator = torch.Generator().manual_seed(0)
        up = nn.Parameter(torch.zeros(16, 4, dtype=getattr(torch, dtype)))
        down = nn.Parameter((torch.randn(4, 16, generator=generator) / 10).to(up.dtype))
        wanted = torch.randn(16, 16, generator=generator) / 20
        node = compose([f"optimizer={name}"]).config["optimizer"]
        optimizer = build(node)([{"name": "unet", "params": [up, down]}])
        if name.startswith("schedulefree"):
            optimizer.train()
        flat, losses, scale = FlatGradients([up, down], extras=1), [], 1024.0
        for _ in range(80):
            flat.clear()
            loss = (up.float() @ down.float() - wanted).square().mean()
            (loss * scale).backward()
            flat.clip(1.0, scale)
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.995 * losses[0], name


def test_eight_bits_without_the_package_say_what_to_install() -> None:
    config = compose(["optimizer=adamw8bit"]).config
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"optimizer\._target_=bitsandbytes.*pip install bitsandbytes"):
            check_shape(config)
    else:
        check_shape(config)


def test_arguments_that_the_optimizer_refuses_are_told_as_its_own_words() -> None:
    node = compose(["optimizer=sgd", "optimizer.momentum=0.0"]).config["optimizer"]
    with pytest.raises(UserError, match="Nesterov momentum requires a momentum"):
        optimize(node, Few())


def test_adafactors_rate_is_the_one_it_really_takes() -> None:
    few = Few()
    node = compose(["optimizer=adafactor"]).config["optimizer"]
    optimizer = optimize(node, few)
    assert isinstance(optimizer, Adafactor)
    rates = LearningRates(optimizer)
    for _ in range(3):
        for one in few.all:
            one.grad = torch.ones_like(one)
        rates.set(1.0)
        optimizer.step()
    step = min(1e-2, 1 / math.sqrt(3))
    sizes = [float(optimizer.state[one]["RMS"]) for one in few.all]
    found = rates.current()
    assert found["lr/unet"] == pytest.approx(step * (sizes[0] + sizes[1]) / 2, rel=1e-5)
    # transformers' own schedule reports the rate of each group's first parameter: the second group has only one.
    assert found["lr/text_encoder"] == pytest.approx(float(AdafactorSchedule(optimizer).get_lr()[1]), rel=1e-5)


def test_fixed_adafactor_and_warming_schedule_free_report_their_rates() -> None:
    fixed = compose(["optimizer=adafactor_fixed", "optimizer.lr=1e-3"]).config["optimizer"]
    assert descend(fixed, 3, multiplier=0.5)[1]["lr/unet"] == pytest.approx(5e-4)
    free = compose(["optimizer=schedulefree", "optimizer.lr=1e-3", "optimizer.warmup_steps=10"]).config["optimizer"]
    assert descend(free, 5)[1]["lr/unet"] == pytest.approx(5e-4)


def test_groups_have_the_rates_of_their_parts() -> None:
    few = Few()
    node = compose(["optimizer=adamw", "optimizer.lr=1e-3"]).config["optimizer"]
    optimizer = optimize(node, few, PLAIN | {"text_encoder": 1e-5})
    rates = LearningRates(optimizer)
    rates.set(0.5)
    assert rates.current() == {"lr/unet": pytest.approx(5e-4), "lr/text_encoder": pytest.approx(5e-6)}
    assert [len(group["params"]) for group in optimizer.param_groups] == [2, 1]


@pytest.fixture(scope="module")
def family(tiny_model: Path) -> Family:
    return opened("sdxl", tiny_model)


@pytest.fixture
def network(family: Family) -> Iterator[Network]:
    made = attach(family, options("locon", preset="attn-only", text_encoders=True, dim=2), 0)
    yield made
    made.detach()


def test_a_real_networks_parameters_are_each_in_one_group_at_the_asked_rate(network: Network, family: Family) -> None:
    count = family.facts.layout.num_blocks
    given = {"unet": 1e-4, "text_encoder": [3e-5, 1e-5], "loraplus_unet": 4.0}
    rates = Rates(**(PLAIN | given | {"blocks": [1 + block / 10 for block in range(count)]}))
    optimizer = make_optimizer(build(compose(["optimizer=adamw"]).config["optimizer"]), network, rates)
    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rate_of) == len(network.trained()) == sum(len(group["params"]) for group in optimizer.param_groups)
    for one in network.trained():
        if one.part == "unet":
            assert one.block is not None
            expected = 1e-4 * (1 + one.block / 10) * (4 if one.plus else 1)
        else:
            expected = 3e-5 if one.part == "text_encoder" else 1e-5
        assert rate_of[id(one.parameter)] == pytest.approx(expected)
    names = {group["name"] for group in optimizer.param_groups}
    assert {"text_encoder", "text_encoder_2"} < names
    assert all(name.startswith(("unet_block_", "text_encoder")) for name in names)


def test_a_rate_for_b_of_a_network_without_one_is_refused(family: Family) -> None:
    made = attach(family, options("loha", preset="attn-only", dim=2), 0)
    try:
        make = build(compose(["optimizer=adamw"]).config["optimizer"])
        with pytest.raises(UserError, match=r"rates\.loraplus_unet=16\.0: this network has no B"):
            make_optimizer(make, made, Rates(**(PLAIN | {"loraplus_unet": 16.0})))
    finally:
        made.detach()


def test_backward_adds_into_the_buffer_and_the_norm_is_that_of_all_gradients() -> None:
    trained = parameters()
    flat = FlatGradients(trained, extras=2)
    assert len(flat.buffers) == 1
    flat.clear()
    for _ in range(2):
        sum(p.square().sum() for p in trained).backward()
    expected = torch.cat([4 * p.detach().flatten() for p in trained])
    assert torch.allclose(flat.gradients[0], expected)
    assert flat.extras.tolist() == [0.0, 0.0]
    reference = [p.detach().clone().requires_grad_() for p in trained]
    for clone, p in zip(reference, trained, strict=True):
        assert p.grad is not None
        clone.grad = p.grad.clone()
    norm = nn.utils.clip_grad_norm_(reference, 0.5)
    assert flat.clip(0.5) == pytest.approx(float(norm), rel=1e-6)
    for clone, p in zip(reference, trained, strict=True):
        assert clone.grad is not None and p.grad is not None
        assert torch.allclose(clone.grad, p.grad, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_has_its_own_buffer_and_the_room_stays_in_float32(dtype: torch.dtype) -> None:
    whole, half = parameters()[:2]
    half.data = half.data.to(dtype)
    flat = FlatGradients([whole, half], extras=3)
    flat.clear()
    (whole.square().sum() + half.square().sum()).backward()
    assert [buffer.dtype for buffer in flat.buffers] == [torch.float32, dtype]
    assert half.grad is not None and half.grad.dtype == dtype
    assert half.grad.data_ptr() == flat.buffers[1].data_ptr()
    assert (flat.extras.dtype, len(flat.extras)) == (torch.float32, 3)
    true = torch.cat([2 * whole.detach().flatten(), 2 * half.detach().float().flatten()])
    assert flat.clip(0.0, scale=4.0) == pytest.approx(float(true.norm()) / 4, rel=1e-5)
    assert torch.allclose(half.grad.float(), half.detach().float() / 2)
    alone = FlatGradients([nn.Parameter(torch.zeros(4, dtype=dtype))], extras=2)
    assert [len(buffer) for buffer in alone.buffers] == [2, 4]
    assert len(alone.gradients) == 1


def test_clipping_and_the_scale_are_one() -> None:
    trained = parameters()
    flat = FlatGradients(trained, extras=0)
    flat.gradients[0].fill_(80.0)
    true = 10.0 * math.sqrt(len(flat.gradients[0]))
    assert flat.clip(1.0, scale=8.0) == pytest.approx(true, rel=1e-5)
    assert float(flat.gradients[0].norm()) == pytest.approx(1.0, rel=1e-5)


def test_clipping_at_zero_leaves_gradients_alone_and_so_does_a_norm_that_is_not_finite() -> None:
    trained = parameters()
    flat = FlatGradients(trained, extras=0)
    flat.gradients[0].fill_(100.0)
    flat.clip(0)
    assert bool((flat.gradients[0] == 100).all())
    flat.gradients[0][0] = math.inf
    assert not math.isfinite(flat.clip(1.0))
    assert bool((flat.gradients[0][1:] == 100).all())


def test_a_parameter_without_part_in_a_step_has_a_gradient_of_zero() -> None:
    trained = parameters()
    flat = FlatGradients(trained, extras=0)
    flat.clear()
    trained[0].sum().backward()
    assert trained[1].grad is not None and float(trained[1].grad.abs().sum()) == 0.0


def test_a_schedule_free_optimizer_shows_its_average_while_used_and_trains_on() -> None:
    weight = nn.Parameter(torch.ones(4))
    optimizer = schedulefree.AdamWScheduleFree([weight], lr=0.1)
    optimizer.train()
    for _ in range(5):
        weight.grad = weight.detach().clone()
        optimizer.step()
    training = weight.detach().clone()
    with weights_for_use(optimizer):
        averaged = weight.detach().clone()
    assert not torch.allclose(training, averaged)
    assert torch.equal(weight, training)
