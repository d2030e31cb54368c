"""The seeded loop: its learning rate, its checkpoints, the average of the weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tools.emoji_model.training import Plan, Training, generator, learning_rate
from tools.emoji_model.vae import train_vae


def _train(path: Path, steps: int) -> Training[nn.Linear]:
    """Some steps of a small layer from the checkpoint at `path`; the long warm-up hides where the plan ends."""
    torch.manual_seed(3)
    training = Training(nn.Linear(4, 2), Plan(steps, 0.1, warmup=100), path)

    def loss(step: int, part: int) -> Tensor:
        inputs = torch.randn(8, 4, generator=generator(5, "toy", step))
        return (training.module(inputs) - inputs[:, :2]).pow(2).mean()

    training.run(loss)
    return training


def test_a_training_stopped_and_continued_equals_an_unbroken_one(tmp_path: Path) -> None:
    unbroken = _train(tmp_path / "one.pt", 20)
    _train(tmp_path / "two.pt", 7)
    continued = _train(tmp_path / "two.pt", 20)
    assert continued.step == unbroken.step == 20
    for kind in ("module", "averaged"):
        pairs = zip(getattr(unbroken, kind).parameters(), getattr(continued, kind).parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pairs)


def test_a_finished_training_learns_nothing_more(tmp_path: Path) -> None:
    before = (tmp_path / "one.pt", _train(tmp_path / "one.pt", 5))[1].module.weight.clone()
    assert torch.equal(_train(tmp_path / "one.pt", 5).module.weight, before)


def test_the_average_follows_the_weights_slowly(tmp_path: Path) -> None:
    torch.manual_seed(3)
    start = nn.Linear(4, 2).weight.detach()
    training = _train(tmp_path / "one.pt", 20)
    moved = (training.module.weight - start).norm()
    assert 0 < (training.averaged.weight - start).norm() < moved


def test_the_time_box_ends_a_training_at_a_checkpoint(tmp_path: Path) -> None:
    training = Training(nn.Linear(1, 1), Plan(10**9, 0.1, minutes=0.001), tmp_path / "one.pt")
    training.run(lambda step, part: training.module(torch.ones(1)).pow(2).sum())
    assert 0 < training.step < 10**9
    assert torch.load(tmp_path / "one.pt", weights_only=True)["step"] == training.step


@pytest.mark.parametrize(("step", "share"), [(0, 0.1), (9, 1.0), (10, 1.0), (60, 0.505), (110, 0.01)])
def test_the_learning_rate_warms_up_and_follows_a_cosine(step: int, share: float) -> None:
    plan = Plan(110, 2.0, warmup=10)
    assert math.isclose(learning_rate(plan, step), 2.0 * share, rel_tol=1e-9)


def test_each_step_has_random_numbers_of_its_own() -> None:
    draws = {
        torch.rand((), generator=generator(*key)).item() for key in [(1, "a", 1), (1, "a", 2), (1, "b", 1), (2, "a", 1)]
    }
    assert len(draws) == 4


def test_the_autoencoder_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    pixels = torch.randint(256, (4, 3, 64, 64), dtype=torch.uint8, generator=generator(1, "pixels", 0))
    weights = []
    for name, stops in (("one", (3,)), ("two", (1, 3))):
        for stop in stops:
            training = train_vae(pixels, Plan(stop, 1e-3, warmup=100), 1, tmp_path / f"{name}.pt", batch_size=2)
        weights.append(torch.cat([parameter.flatten() for parameter in training.averaged.parameters()]))
    assert torch.equal(weights[0], weights[1])
