from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.models.family import Family
from sweeplora.networks.network import attach
from sweeplora.training.leftovers import differences, forget, state_of, users_modules

CONF = Path(__file__).resolve().parents[2] / "conf"
ALGORITHMS = sorted(path.stem for path in (CONF / "network").glob("*.yaml"))


@pytest.fixture(scope="module")
def family(tiny_model: Path) -> Family:
    """A frozen base."""
    return in_memory(tiny_model)


def in_memory(path: Path) -> Family:
    """A frozen base with all its networks read."""
    loaded: Family = build(compose([f"model.path={path}"]).config["model"]).load(torch.device("cpu"))
    assert all((loaded.unet, loaded.vae, *loaded.text_encoders))
    return loaded


def layer_of(family: Family) -> nn.Linear:
    return next(module for module in family.unet.modules() if isinstance(module, nn.Linear))


def flip_a_bit(family: Family) -> None:
    bits = layer_of(family).weight.data.view(torch.int32)
    bits[-1, -1] ^= 1


def patch_forward(family: Family) -> None:
    layer = layer_of(family)
    layer.forward = layer.forward  # type: ignore[method-assign]


def hook(family: Family) -> None:
    layer_of(family).register_forward_hook(lambda *given: None)


CHANGES: list[Callable[[Family], object]] = [
    flip_a_bit,
    patch_forward,
    hook,
    lambda family: layer_of(family).weight.requires_grad_(True),
    lambda family: family.text_encoders[0].train(),
    lambda family: family.vae.to(torch.bfloat16),
    lambda family: setattr(layer_of(family).weight, "grad", torch.zeros_like(layer_of(family).weight)),
    lambda family: torch.use_deterministic_algorithms(True, warn_only=True),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_each_thing_that_a_training_could_leave_changed_is_found(number: int, tiny_model: Path) -> None:
    family = in_memory(tiny_model)
    before = state_of(family)
    assert differences(before, state_of(family)) == []
    CHANGES[number](family)
    try:
        assert differences(before, state_of(family))
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_network_of_any_algorithm_that_learned_is_detached_without_a_trace(family: Family) -> None:
    before = state_of(family)
    text = family.encode_text(["a shape"])
    given = (torch.ones(1, 4, 8, 8), torch.tensor([7]), text, torch.ones(1, 6))
    plain: Tensor = family.predict(*given)
    for name in ALGORITHMS:
        options = build(
            compose([f"network={name}", "network.text_encoders=true", "network.preset=attn-only"]).config["network"]
        )
        network = attach(family, options, seed=0)
        network.train(True)
        network.at(given[1], 1000)
        parameters = [*network.parameters("unet"), *network.parameters("text_encoder")]
        optimizer = torch.optim.SGD(parameters, lr=0.1)
        family.predict(*given).square().mean().backward()
        optimizer.step()
        network.detach()
        assert differences(before, state_of(family)) == [], name
    assert torch.equal(family.predict(*given), plain)


def test_a_network_that_cannot_be_attached_leaves_the_base_alone(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state_of(family)
    options = build(compose(["network=locon"]).config["network"])
    monkeypatch.setattr("sweeplora.networks.network.Network.load_file_tensors", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        attach(family, options, seed=0)
    assert differences(before, state_of(family)) == []


def test_a_users_module_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "users_loss_of_this_test.py"
    file.write_text("kept = []\n")
    before = set(sys.modules)
    import users_loss_of_this_test as first  # type: ignore[import-not-found]

    first.kept.append(1)
    assert users_modules(sys.modules.keys() - before) == {"users_loss_of_this_test": file}
    forget(["users_loss_of_this_test"])
    import users_loss_of_this_test as second

    assert second.kept == []
