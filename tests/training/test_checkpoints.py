"""Which states a run goes on from, and that optimizers and the loss scale take theirs back exactly."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sweeplora.config.compose import compose
from sweeplora.config.instantiate import build
from sweeplora.rundir.folder import RunDir
from sweeplora.rundir.metrics import MetricsWriter
from sweeplora.rundir.record import TrialRecord, write_trial
from sweeplora.rundir.state import About, Origin, drop_state, read_about, read_origin
from sweeplora.tensors.tree import read_tree, write_tree
from sweeplora.training.checkpoints import Unfit, state_of
from sweeplora.training.optim.loss_scale import LossScale
from sweeplora.training.optim.optimizer_state import load_optimizer, optimizer_state

CPU = torch.device("cpu")
CODE = {"source": "a" * 64, "torch": "2.13.0"}
OURS = Origin("0123456789ab", {"data.dir": "1", "model.path": "2"}, CODE, "1.0")


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.create(tmp_path / "run", "train: {}\n")
    signed = TrialRecord("running", signature=OURS.signature, contents=dict(OURS.contents), code=dict(OURS.code))
    write_trial(run, signed)
    run.checkpoints.mkdir()
    return run


def write(run: RunDir, origin: Origin, metrics_bytes: int | None = None) -> None:
    written = {} if metrics_bytes is None else {run.metrics.name: metrics_bytes}
    write_tree(run.state, {"outputs": {"written": written}}, asdict(About(origin, 3, 8)))


def test_its_own_state_fits_and_says_how_far_it_got(run: RunDir) -> None:
    write(run, OURS)
    assert state_of(run, CPU)["outputs"] == {"written": {}}
    assert read_about(run.state) == About(OURS, 3, 8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"code": CODE | {"source": "b" * 64}, "version": "0.9"},
            "another version of sweeplora 0.9: the",
        ),
        ({"code": CODE | {"torch": "2.12.0"}}, "was made with torch 2.12.0, here is 2.13.0"),
        ({"contents": {"data.dir": "1", "model.path": "3"}}, "the contents of model.path are others"),
        ({}, "its settings are others"),
    ],
)
def test_another_experiments_state_is_passed_over_and_it_says_which(
    run: RunDir, change: dict[str, Any], told: str
) -> None:
    write(run, replace(OURS, signature="ba9876543210", **change))
    with pytest.raises(Unfit, match=told):
        state_of(run, CPU)


def test_a_state_ahead_of_the_metrics_is_passed_over(run: RunDir) -> None:
    writer = MetricsWriter(run.metrics)
    writer.write(1, {"loss": 0.5})
    write(run, OURS, writer.sync())
    assert state_of(run, CPU)
    run.metrics.write_bytes(run.metrics.read_bytes()[:-1])
    with pytest.raises(Unfit, match="jsonl is shorter"):
        state_of(run, CPU)


@pytest.mark.parametrize(
    ("tree", "about"),
    [
        ({}, asdict(About(OURS, 3, 8))),
        ({"outputs": {"written": 3}}, asdict(About(OURS, 3, 8))),
        ({"outputs": {"written": {}}}, {}),
        ({"outputs": {"written": {}}}, {"origin": [], "step": 3, "steps": 8, "config": {}}),
        ({"outputs": {"written": {}}}, asdict(About(OURS, 3, 8)) | {"step": "three"}),
        ({"outputs": {"written": {}}}, asdict(About(OURS, 9, 8))),
    ],
)
def test_a_whole_file_that_is_no_state_is_passed_over_and_says_so(
    run: RunDir, tree: dict[str, Any], about: dict[str, Any]
) -> None:
    write_tree(run.state, tree, about)
    with pytest.raises(Unfit, match="it is no state that this version of sweeplora writes"):
        state_of(run, CPU)


@pytest.mark.parametrize(
    "about", ["[]", "null", "3", '{"origin": 1}', '{"origin": {}, "step": Infinity}', "[" * 3000, '{"step": 1e999}']
)
def test_a_header_of_any_other_kind_says_nothing(run: RunDir, about: str) -> None:
    header = json.dumps({"__metadata__": {"about": about}}).encode()
    run.state.write_bytes(len(header).to_bytes(8, "little") + header)
    assert read_about(run.state) is None


def test_the_state_goes_where_its_folder_is_a_link_to_another_disk(run: RunDir, tmp_path: Path) -> None:
    run.checkpoints.rmdir()
    (tmp_path / "disk").mkdir()
    run.checkpoints.symlink_to(tmp_path / "disk")
    write(run, OURS)
    (run.checkpoints / "best.safetensors").touch()
    drop_state(run)
    assert not run.state.exists() and not list((tmp_path / "disk").iterdir())


def test_without_an_origin_the_config_itself_is_what_a_state_belongs_to(run: RunDir) -> None:
    run.trial.unlink()
    write(run, read_origin(run))
    assert state_of(run, CPU)
    run.config.write_text("train: {epochs: 2}\n")
    with pytest.raises(Unfit, match="its settings are others"):
        state_of(run, CPU)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "words",
    [
        ["optimizer=adamw"], ["optimizer=prodigy"], ["optimizer=dadapt_adam"], ["optimizer=dadapt_lion"],
        ["optimizer=schedulefree"], ["optimizer=schedulefree_radam"], ["optimizer=adafactor"], ["optimizer=lion"],
        ["optimizer=adafactor_fixed", "optimizer.beta1=0.9"], ["optimizer=sgd"], ["optimizer=any"],
        ["optimizer=any", "optimizer._target_=tests.training.test_checkpoints.Keeper"],
        ["optimizer=any", "optimizer._target_=tests.training.test_checkpoints.Slow"],
        ["optimizer=any", "optimizer._target_=tests.training.test_checkpoints.Whitened"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_optimizer_goes_on_in_the_same_bits(words: Sequence[str], dtype: torch.dtype, tmp_path: Path) -> None:
    """Six steps at once, and three, the state through a file, three more."""
    make = build(compose(list(words)).config["optimizer"])
    whole = Little(make, dtype)
    whole.steps(0, 6)
    first = Little(make, dtype)
    first.steps(0, 3)
    write_tree(tmp_path / "o.safetensors", {"optimizer": optimizer_state(first.optimizer), "w": first.weights()}, {})
    second = Little(make, dtype)
    tree, _ = read_tree(tmp_path / "o.safetensors", CPU)
    load_optimizer(second.optimizer, tree["optimizer"])
    for parameter, value in zip(second.parameters, tree["w"], strict=True):
        parameter.data.copy_(value)
    second.steps(3, 6)
    assert all(map(torch.equal, second.weights(), whole.weights()))


class Keeper(torch.optim.SGD):
    """A user's own: float32 state beside half-precision weights, nested, and numbers of its own beside torch's."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.seen = 0

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it returns no loss
        self.seen += 1
        for group in self.param_groups:
            group["sum"] = group.get("sum", torch.zeros(2, dtype=torch.float64)) + self.seen / 3
            for parameter in group["params"]:
                state = self.state[parameter]
                mean = state.setdefault("inner", {}).setdefault("mean", torch.zeros(parameter.shape))
                mean.mul_(0.9).add_(parameter.grad.float())
                state["inner"]["kinds"] = ("a", None, [self.seen])
                parameter.data.add_(mean.to(parameter.dtype), alpha=-group["lr"] * float(group["sum"][0]))

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"seen": self.seen}

    def load_state_dict(self, state_dict: Any) -> None:
        self.seen = state_dict["seen"]
        super().load_state_dict(state_dict)


class Slow(torch.optim.Optimizer):
    """A user's own around another one, in the manner of Lookahead (Zhang et al. 2019): its state by the parameters."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.AdamW(self.param_groups, lr=lr)
        self.slow: dict[Any, Any] = {}

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it returns no loss
        self.inner.step()
        for group in self.param_groups:
            for parameter in group["params"]:
                mean = self.slow.setdefault(parameter, parameter.detach().float().clone())
                mean.lerp_(parameter.detach().float(), 0.3)
                parameter.data.copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        return {"inner": self.inner.state_dict(), "slow": self.slow}

    def load_state_dict(self, state_dict: Any) -> None:
        self.inner.load_state_dict(state_dict["inner"])
        self.param_groups = self.inner.param_groups
        self.slow = state_dict["slow"]


class Whitened(torch.optim.Optimizer):
    """A user's own with eigenvectors, whose columns lie in memory one after the other, and numbers of all kinds."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr, "dtype": torch.float64})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # it returns no loss
        for group in self.param_groups:
            for parameter in group["params"]:
                state, gradient = self.state[parameter], parameter.grad.to(group["dtype"])
                state["shape"], state["best"] = parameter.shape, np.float32(0.1)
                state.setdefault("axes", torch.linalg.eigh(gradient @ gradient.T)[1].mT.contiguous().mT)
                one = state.setdefault("by_rate", {0.9: torch.zeros(3, 4)[:, 1:2][:1]})[0.9]
                one.add_(gradient.sum())
                group.setdefault("last", deque(maxlen=2)).append(float(one))
                turned = state["axes"] @ (state["axes"].T @ gradient) * sum(group["last"])
                parameter.data.sub_(group["lr"] * turned.to(parameter.dtype))


class Little:
    """Two parameters, and gradients that are a function of the step."""

    def __init__(self, make: Any, dtype: torch.dtype) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameters = [nn.Parameter(torch.randn(4, 3, generator=generator).to(dtype)) for _ in range(2)]
        self.optimizer = make([{"params": [parameter]} for parameter in self.parameters])
        if hasattr(self.optimizer, "train"):
            self.optimizer.train()

    def steps(self, first: int, last: int) -> None:
        for step in range(first, last):
            generator = torch.Generator().manual_seed(step + 1)
            for parameter in self.parameters:
                parameter.grad = torch.randn(4, 3, generator=generator).to(parameter.dtype)
            self.optimizer.step()

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.parameters]


def test_an_optimizer_that_loses_its_state_is_found_out() -> None:
    class Forgetful(torch.optim.SGD):
        def state_dict(self) -> dict[str, Any]:
            return super().state_dict() | {"secret": id(self)}

    make = lambda groups: Forgetful(groups, lr=0.1, momentum=0.9)  # noqa: E731
    first, second = Little(make, torch.float32), Little(make, torch.float32)
    with pytest.raises(ValueError, match="Forgetful does not take its state back"):
        load_optimizer(second.optimizer, optimizer_state(first.optimizer))


def test_the_loss_scale_goes_on_from_its_value_and_its_patience() -> None:
    whole, first, second = LossScale(), LossScale(), LossScale()
    outcomes = [False, *[True] * 1999, True, *[True] * 5]
    for finite in outcomes:
        whole.update(finite)
    for finite in outcomes[:1500]:
        first.update(finite)
    second.load(first.state())
    for finite in outcomes[1500:]:
        second.update(finite)
    assert second.state() == whole.state() == {"value": 2.0**16, "good": 5}
