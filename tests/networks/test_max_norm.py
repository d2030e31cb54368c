"""Max-norm: updates above the limit come down to it, the others stay, and the numbers told are true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sweeplora.networks.max_norm import limit_norms
from tests.networks.attached import Layer, adapter, conv, linear
from tests.networks.options import options

EXPECTED = Path(__file__).parents[1] / "expected" / "networks" / "max_norm.json"
LIMITED: dict[str, Any] = {
    "locon": options("locon", dim=4, alpha=2.0),
    "locon-tucker": options("locon", dim=4, use_tucker=True),
    "locon-scalar": options("locon", dim=4, use_scalar=True),
    "loha": options("loha", use_tucker=True),
    "loha-scalar": options("loha", use_scalar=True),
    "lokr": options("lokr", dim=2, alpha=1.0),
    "lokr-both-tucker": options("lokr", dim=2, alpha=1.0, factor=4, decompose_both=True, use_tucker=True),
    "lokr-full": options("lokr", full_matrix=True, use_scalar=True),
}


def layers() -> list[Layer]:
    return [linear(), linear(), linear(16, 48), conv(), conv(kernel=1)]


def made(algorithm: Any) -> list[Any]:
    """One adapter for each layer, the later ones with larger updates."""
    found = []
    for number, layer in enumerate(layers()):
        one = adapter(algorithm, layer, move=0.2)
        with torch.no_grad():
            for factor in one.factors():
                factor.mul_(1 + 0.3 * number)
        found.append(one)
    return found


def norms_of(adapters: list[Any]) -> Tensor:
    return torch.stack([one.update().detach().double().norm() for one in adapters])


@pytest.mark.parametrize("kind", LIMITED)
def test_updates_come_down_to_the_limit_and_keep_their_direction(kind: str) -> None:
    adapters = made(LIMITED[kind])
    before = [one.update().detach().clone() for one in adapters]
    norms = norms_of(adapters)
    maximum = float(norms.sort().values[1:3].mean())
    told = limit_norms(adapters, maximum)
    assert told.scaled == 3
    wanted = norms.clamp(max=maximum)
    torch.testing.assert_close(norms_of(adapters), wanted, rtol=1e-5, atol=0)
    assert told.mean == pytest.approx(float(wanted.mean()), rel=1e-5)
    assert told.largest == pytest.approx(maximum, rel=1e-5)
    for one, update, norm in zip(adapters, before, norms.tolist(), strict=True):
        expected = update * min(1.0, maximum / norm)
        torch.testing.assert_close(one.update(), expected, rtol=1e-4, atol=1e-6)
        assert norm > maximum or torch.equal(one.update(), update)


def test_a_limit_that_nothing_reaches_changes_no_bit() -> None:
    adapters = made(LIMITED["locon"])
    before = [p.detach().clone() for one in adapters for p in one.module.parameters()]
    told = limit_norms(adapters, 1e6)
    assert told.scaled == 0
    assert told.mean == pytest.approx(float(norms_of(adapters).mean()), rel=1e-5)
    after = [p for one in adapters for p in one.module.parameters()]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("kind", ["locon", "loha", "lokr", "diag-oft", "boft"])
def test_the_limited_update_is_lycoris_own(kind: str) -> None:
    """LyCORIS puts a LoCon's ratio into its scalar, we into the factors: the product is the same."""
    sized = {"dim": 10} if kind == "boft" else {"dim": 4}
    ours, theirs = (adapter(options(kind, **sized), linear(), move=0.5) for _ in range(2))
    norm = float(ours.norm().detach())
    scaled, told = theirs.module.apply_max_norm(norm / 3)
    assert bool(scaled)
    limit = limit_norms([ours], norm / 3)
    assert limit.scaled == 1
    assert limit.mean == pytest.approx(float(told), rel=1e-4)
    change = theirs.update() * (theirs.module.scalar if kind in ("locon", "loha") else 1)
    torch.testing.assert_close(ours.update(), change, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["full", "ia3", "glora", "dylora", "tlora"])
def test_what_lycoris_does_not_limit_stays(kind: str) -> None:
    one = adapter(options(kind), linear())
    before = one.update().detach().clone()
    assert limit_norms([one], 1e-3) == (0, 0.0, 0.0)
    assert torch.equal(one.update(), before)


def test_a_locon_is_limited_as_by_sd_scripts() -> None:
    """Its numbers for the same weights: how many it scaled, the mean and largest norm, and each factor's norm."""
    expected = json.loads(EXPECTED.read_text())
    adapters: list[Any] = made(LIMITED["locon"])
    told = limit_norms(adapters, expected["maximum"])
    assert told.scaled == expected["scaled"]
    assert told.mean == pytest.approx(expected["mean"], rel=1e-5)
    assert told.largest == pytest.approx(expected["largest"], rel=1e-5)
    factors = [[float(factor.detach().norm()) for factor in one.factors()] for one in adapters]
    for mine, theirs in zip(factors, expected["factor_norms"], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
