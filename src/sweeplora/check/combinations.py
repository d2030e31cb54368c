"""Checks that optimizer, rates, scheduler, loss and model are compatible, before anything heavy runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Gt, Lt

from sweeplora.check.parts import slot_of
from sweeplora.config.binding import check_value
from sweeplora.config.nearest import nearest
from sweeplora.config.rules import arguments
from sweeplora.errors import Problems, UserError
from sweeplora.experiment import Group
from sweeplora.models.layout import Layout
from sweeplora.networks.algorithms import algorithm_of, check_norm_limit
from sweeplora.report.objectives import FILE_SIZE, PREFERENCE
from sweeplora.training.optim.rates import Rates

Node = Mapping[str, Any]

_KINDS: dict[str, Any] = {
    "lr": Annotated[float, Gt(0)] | None,
    "betas": list[Annotated[float, Ge(0), Lt(1)]],
    "weight_decay": Annotated[float, Ge(0)],
    "eps": Annotated[float, Ge(0)] | list[Annotated[float, Ge(0)] | None],
}
"""The types of these arguments in every optimizer that has them."""

_FINDS_ITS_RATE = ("prodigyopt.", "dadaptation.")
_LEAST_FOUND_RATE = 0.1
_KEEPS_SQUARES = ("torch.optim.", "schedulefree.", *_FINDS_ITS_RATE)
_KEEPS_NONE = (".SGD", ".SGDScheduleFree")
_DIVIDES_BY_FIRST_RATE = "dadaptation.DAdaptSGD"
_ADAFACTOR = ("transformers.optimization.Adafactor", "transformers.Adafactor")
_ADAFACTOR_SCHEDULE = "sweeplora.training.optim.schedules.adafactor"


METRICS = (
    *("val/loss", "val/best", "val/relative", "val/band_0", "val/band_1", "val/band_2", "val/band_3"),
    *("probe/loss", "loss"),
    FILE_SIZE,
    PREFERENCE,
)
"""The metrics that a study can minimise: those of training/outputs.py that are comparable, and the file's size."""


def note_combinations(config: Mapping[str, Any], problems: Problems) -> None:
    """Add values that are valid individually but incompatible with each other."""
    optimizer, train, launcher = config["optimizer"], config["train"], config["launcher"]
    together = ("optimizer", "scheduler", "rates")
    problems.attempt(together, lambda: check_optimizer(optimizer, config["scheduler"], config["rates"]))
    problems.attempt(("train", "optimizer"), lambda: check_half_precision(optimizer, train["network_precision"]))
    problems.attempt(("launcher", "train", "optimizer"), lambda: _check_device(launcher, train, optimizer))
    problems.attempt(
        ("train", "network"), lambda: check_norm_limit(config["network"]["_target_"], train["max_weight_norm"])
    )
    problems.attempt(("sweep", "pruner", "train"), lambda: _check_objectives(config))


def check_optimizer(optimizer: Node, scheduler: Node, rates: Node) -> None:
    """Raise UserError if an optimizer's values, its scheduler or the rates of the parts do not suit it."""
    for key in [key for key in _KINDS if key in optimizer]:
        check_value(f"optimizer.{key}", optimizer[key], _KINDS[key])
    target, given = optimizer["_target_"], _given(rates)
    if _has_relative_step(optimizer):
        _check_relative_step(optimizer, scheduler, given)
        return
    if scheduler["_target_"] == _ADAFACTOR_SCHEDULE:
        raise UserError("scheduler", _ADAFACTOR_SCHEDULE, "has no effect without optimizer=adafactor; use constant")
    if "lr" in optimizer and optimizer["lr"] is None:
        raise UserError("optimizer.lr", None, f"{target} finds no rate by itself; give a number")
    if target in _ADAFACTOR and optimizer.get("warmup_init"):
        raise UserError("optimizer.warmup_init", True, "has no effect without optimizer.relative_step; use false")
    if target == _DIVIDES_BY_FIRST_RATE and scheduler.get("warmup"):
        mend = "DAdaptSGD divides by the first step's rate, which a warm-up makes 0; use 0"
        raise UserError("scheduler.warmup", scheduler["warmup"], mend)
    if target.startswith(_FINDS_ITS_RATE):
        _check_found_rate(optimizer, given)


def check_half_precision(optimizer: Node, network_precision: str) -> None:
    """Raise UserError for an optimizer that keeps squared gradients in the network's precision if that is fp16.

    The smallest number in fp16 is 6e-8, the square of a gradient of 2e-4. Smaller squares become 0, so that the update
    is divided by zero or no step size is found. transformers' Adafactor and bitsandbytes compute in float32.
    """
    target = optimizer["_target_"]
    if network_precision == "fp16" and target.startswith(_KEEPS_SQUARES) and not target.endswith(_KEEPS_NONE):
        mend = (
            f"{target.rpartition('.')[2]} would keep squared gradients in it, which vanish there; use fp32 or bf16, "
            "or optimizer=adafactor_fixed, lion or adamw8bit"
        )
        raise UserError("train.network_precision", "fp16", mend)


def check_rates(rates: Node, network: Node, layout: Layout) -> None:
    """Raise UserError for a rate of a part that is not trained or does not exist in this family."""
    chosen = Rates(**arguments(rates))
    encoders = len(layout.encoder_prefixes)
    if isinstance(chosen.text_encoder, list) and len(chosen.text_encoder) != encoders:
        raise UserError("rates.text_encoder", chosen.text_encoder, f"{layout.name} has one text encoder; give a number")
    if chosen.blocks is not None and len(chosen.blocks) != layout.num_blocks:
        mend = (
            f"{len(chosen.blocks)} numbers, but this model's U-Net ({layout.name}) has {layout.num_blocks} blocks: "
            f"{layout.blocks}; give {layout.num_blocks}"
        )
        raise UserError("rates.blocks", ",".join(str(number) for number in chosen.blocks), mend)
    idle = {"unet": "network.unet", "text_encoder": "network.text_encoders"}
    idle |= {f"loraplus_{key}": switch for key, switch in idle.items()} | {"blocks": "network.unet"}
    for key in chosen.given:
        if not network[idle[key].partition(".")[2]]:
            mend = f"has no effect with {idle[key]}=false, where nothing of it trains; leave it null"
            raise UserError(f"rates.{key}", rates[key], mend)
        if key.startswith("loraplus") and not algorithm_of(network["_target_"]).HAS_B:
            mend = f"{network['_target_'].rpartition('.')[2]} has no B whose rate could differ; leave it null"
            raise UserError(f"rates.{key}", rates[key], mend)


def check_loss(loss: Node, prediction: str) -> None:
    """Raise UserError for a loss weight that does not apply to the model's prediction (epsilon or v_prediction)."""
    if loss.get("scale_v_like_epsilon") and prediction != "v_prediction":
        mend = f"needs a model that predicts v, this one predicts {prediction}; use false or model.prediction"
        raise UserError("loss.scale_v_like_epsilon", True, mend)
    if loss.get("v_pred_like") is not None and prediction == "v_prediction":
        mend = "this model predicts v: its loss is that already; leave it null"
        raise UserError("loss.v_pred_like", loss["v_pred_like"], mend)


def _check_device(launcher: Group, train: Node, optimizer: Node) -> None:
    if slot_of(launcher).device != "cpu":
        return
    if train["mixed_precision"] == "fp16":
        raise UserError("train.mixed_precision", "fp16", "a CPU has no half precision; use no or bf16")
    if optimizer["_target_"].startswith("bitsandbytes."):
        raise UserError("optimizer", optimizer["_target_"], "needs an NVIDIA GPU; use optimizer=adamw")


def _check_objectives(config: Mapping[str, Any]) -> None:
    objective = config["sweep"]["objective"]
    wanted = [objective] if isinstance(objective, str) else list(objective)
    for name in wanted:
        if name not in METRICS:
            raise UserError("sweep.objective", name, f"no such metric; {nearest(name, METRICS)}")
        if wanted.count(name) > 1:
            raise UserError("sweep.objective", json.dumps(wanted), f"names {name} twice; give it once")
    prunes = config["pruner"]["_target_"] != "optuna.pruners.NopPruner"
    if len(wanted) > 1 and prunes:
        mend = "Optuna cannot prune on several objectives; use pruner=none or one objective"
        raise UserError("sweep.objective", json.dumps(wanted), mend)
    if "probe/loss" in wanted and config["train"]["probe_images"] == 0:
        raise UserError("train.probe_images", 0, "sweep.objective=probe/loss needs some")
    if wanted == ["probe/loss"] and prunes and config["train"]["probe_every_epochs"] == 0:
        mend = "a pruner sees no probe/loss before the end; give 1, or pruner=none"
        raise UserError("train.probe_every_epochs", 0, mend)


def _given(rates: Node) -> dict[str, Any]:
    return {key: value for key, value in arguments(rates).items() if value is not None}


def _has_relative_step(optimizer: Node) -> bool:
    """Whether it is Adafactor with a relative step size, the default in transformers."""
    return optimizer["_target_"] in _ADAFACTOR and optimizer.get("relative_step", True) is not False


def _check_relative_step(optimizer: Node, scheduler: Node, given: Node) -> None:
    its_own = "Adafactor's relative step is its own rate"
    if optimizer.get("lr") is not None:
        raise UserError("optimizer.lr", optimizer["lr"], f"{its_own}; use null, or optimizer=adafactor_fixed")
    if scheduler["_target_"] != _ADAFACTOR_SCHEDULE:
        mend = f"{its_own} and knows no schedule; use scheduler=adafactor, or optimizer=adafactor_fixed"
        raise UserError("scheduler", scheduler["_target_"], mend)
    if given:
        key, value = next(iter(given.items()))
        raise UserError(f"rates.{key}", value, f"{its_own}; leave it null, or use optimizer=adafactor_fixed")


def _check_found_rate(optimizer: Node, given: Node) -> None:
    name = optimizer["_target_"].rpartition(".")[2]
    if optimizer.get("lr", 1) < _LEAST_FOUND_RATE:
        mend = f"another optimizer's rate: {name} multiplies by it what it finds itself; use about 1"
        raise UserError("optimizer.lr", optimizer["lr"], mend)
    if given:
        key, value = next(iter(given.items()))
        raise UserError(f"rates.{key}", value, f"{name} finds one rate for all parts; leave it null")
