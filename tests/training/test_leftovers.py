from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.optim.optimizer import register_optimizer_step_post_hook

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.models.family import Family
from sweeplora.networks.adapters.products import LoHaAdapter
from sweeplora.networks.network import attach
from sweeplora.training.leftovers import differences, forget, process_wide, state_of, users_modules
from sweeplora.training.library_state import LibraryState

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


def norm_of(family: Family) -> nn.GroupNorm:
    return next(module for module in family.unet.modules() if isinstance(module, nn.GroupNorm))


def hook_a_tensor(family: Family, kind: str) -> None:
    weight = layer_of(family).weight.requires_grad_(True)
    getattr(weight, kind)(lambda given: None)
    weight.requires_grad_(False)


CHANGES: list[Callable[[Family], object]] = [
    flip_a_bit,
    patch_forward,
    hook,
    lambda family: layer_of(family).weight.requires_grad_(True),
    lambda family: family.text_encoders[0].train(),
    lambda family: family.vae.to(torch.bfloat16),
    lambda family: setattr(layer_of(family).weight, "grad", torch.zeros_like(layer_of(family).weight)),
    lambda family: hook_a_tensor(family, "register_hook"),
    lambda family: hook_a_tensor(family, "register_post_accumulate_grad_hook"),
    lambda family: setattr(norm_of(family), "eps", 1e-3),
    lambda family: setattr(norm_of(family), "num_groups", 1),
]


def set_switch(place: Any, name: str, value: object) -> Callable[[], object]:
    """Set an attribute; returns what sets it back."""
    before = getattr(place, name)
    setattr(place, name, value)
    return lambda: setattr(place, name, before)


def set_by(setter: Callable[[Any], object], value: object, before: object) -> Callable[[], object]:
    setter(value)
    return lambda: setter(before)


def nothing(*given: object) -> None:
    """A hook."""


PROCESS_WIDE: dict[str, Callable[[], Callable[[], object]]] = {
    "_global_forward_hooks": lambda: module_hooks.register_module_forward_hook(nothing).remove,
    "_global_forward_pre_hooks": lambda: module_hooks.register_module_forward_pre_hook(nothing).remove,
    "_global_backward_hooks": lambda: module_hooks.register_module_full_backward_hook(nothing).remove,
    "_global_parameter_reg": lambda: module_hooks.register_module_parameter_registration_hook(nothing).remove,
    "_global_optimizer_post": lambda: register_optimizer_step_post_hook(nothing).remove,
    "set_flush_denormal": lambda: set_by(torch.set_flush_denormal, True, False),
    "mkldnn.enabled": lambda: set_switch(torch.backends.mkldnn, "enabled", False),
    "cudnn.deterministic": lambda: set_switch(torch.backends.cudnn, "deterministic", True),
    "cudnn.enabled": lambda: set_switch(torch.backends.cudnn, "enabled", False),
    "cuda.matmul.allow_fp16_acc": lambda: set_switch(torch.backends.cuda.matmul, "allow_fp16_accumulation", True),
    "flash_sdp": lambda: set_by(torch.backends.cuda.enable_flash_sdp, False, True),
    "math_sdp": lambda: set_by(torch.backends.cuda.enable_math_sdp, False, True),
    "are_deterministic": lambda: set_by(torch.use_deterministic_algorithms, True, False),
    "matmul_precision": lambda: set_by(torch.set_float32_matmul_precision, "high", "highest"),
    "default_dtype": lambda: set_by(torch.set_default_dtype, torch.float64, torch.float32),
    "autocast on cpu": lambda: set_by(lambda on: torch.set_autocast_enabled("cpu", on), True, False),
    "numpy.geterr": lambda: set_by(lambda kind: np.seterr(all=kind), "ignore", "warn"),
    "sys.getrecursionlimit": lambda: set_by(sys.setrecursionlimit, 5000, sys.getrecursionlimit()),
    "umask": lambda: set_by(os.umask, 0o77, os.umask(0o22)),
    "nn.Module.__call__": lambda: set_switch(nn.Module, "__call__", nothing),
}


@pytest.mark.parametrize("name", PROCESS_WIDE)
def test_each_switch_and_hook_of_the_process_that_stays_is_named(name: str) -> None:
    before = process_wide()
    assert differences(before, process_wide()) == []
    undo = PROCESS_WIDE[name]()
    try:
        after = process_wide()
    finally:
        undo()
    assert any(name in one for one in differences(before, after))


@pytest.mark.parametrize(
    ("place", "name", "told"),
    [
        (torch.nn.functional, "scaled_dot_product_attention", "torch.nn.functional.scaled_dot_product_attention"),
        (torch.optim.AdamW, "step", "torch.optim.adam.Adam.step"),
        (builtins, "open", "builtins.open"),
        (LoHaAdapter, "state", "adapters.products.LoHaAdapter"),
    ],
)
def test_a_function_or_method_of_a_library_that_another_stands_for_is_named(
    place: Any, name: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LibraryState()
    owner = next(one for one in [place, *getattr(place, "__mro__", ())] if name in vars(one))
    monkeypatch.setattr(owner, name, nothing)
    found = before.replaced()
    monkeypatch.undo()
    assert found and all(told in one or name in one for one in found)
    assert before.replaced() == []


def test_another_hook_in_the_place_of_one_is_found(family: Family) -> None:
    first = layer_of(family).register_forward_pre_hook(nothing)
    before = state_of(family)
    first.remove()
    second = layer_of(family).register_forward_pre_hook(nothing)
    found = differences(before, state_of(family))
    second.remove()
    assert len(found) == 1


def test_a_class_whose_forward_was_replaced_is_found(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(family)
    monkeypatch.setattr(nn.GroupNorm, "forward", nn.GroupNorm.extra_repr)
    assert differences(before, state_of(family))
    monkeypatch.undo()
    assert differences(before, state_of(family)) == []


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_each_thing_that_a_training_could_leave_changed_is_found(number: int, tiny_model: Path) -> None:
    family = in_memory(tiny_model)
    before = state_of(family)
    assert differences(before, state_of(family)) == []
    CHANGES[number](family)
    assert differences(before, state_of(family))


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
