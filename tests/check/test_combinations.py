"""What does not go together is told by its key, before anything heavy is imported."""

from __future__ import annotations

from typing import Any

import pytest

from sweeplora.check.combinations import check_half_precision, check_loss, check_optimizer, check_rates
from sweeplora.config.compose import compose
from sweeplora.config.imports import is_light
from sweeplora.errors import UserError
from sweeplora.models import sd15, sdxl


def checked(*overrides: str) -> None:
    config = compose(list(overrides)).config
    check_optimizer(config["optimizer"], config["scheduler"], config["rates"])


def refused(*overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        checked(*overrides)
    return str(caught.value)


PRODIGY = ["optimizer=any", "optimizer._target_=prodigyopt.Prodigy"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer=adamw"],
        ["optimizer=prodigy"],
        ["optimizer=dadapt_adam", "scheduler.warmup=10"],
        ["optimizer=adafactor", "scheduler=adafactor"],
        ["optimizer=adafactor", "scheduler=adafactor", "optimizer.warmup_init=true"],
        ["optimizer=adafactor_fixed", "scheduler=constant", "rates.unet=1e-4"],
        ["optimizer=adafactor", "optimizer.relative_step=false", "optimizer.lr=1e-4"],
        ["optimizer=any", "optimizer._target_=my_optim.LodeW", "rates.unet=1e-4"],
        [*PRODIGY, "optimizer.lr=1.0"],
    ],
)
def test_what_goes_together_passes(overrides: list[str]) -> None:
    checked(*overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["optimizer=adafactor"],
            "scheduler=sweeplora.training.optim.schedules.cosine: Adafactor's relative step is its own rate",
        ),
        (["optimizer=adafactor", "scheduler=adafactor", "optimizer.lr=1e-3"], "optimizer.lr=0.001: Adafactor's"),
        (["optimizer=adafactor", "scheduler=adafactor", "rates.unet=1e-3"], "rates.unet=0.001: Adafactor's"),
        (
            ["scheduler=adafactor"],
            "scheduler=sweeplora.training.optim.schedules.adafactor: has no effect without optimizer=adafactor",
        ),
        (
            ["optimizer=adafactor_fixed", "scheduler=adafactor"],
            "scheduler=sweeplora.training.optim.schedules.adafactor: has no effect",
        ),
        (["optimizer=adafactor_fixed", "optimizer.warmup_init=true"], "optimizer.warmup_init=True: has no effect"),
        (["optimizer=adafactor_fixed", "optimizer.lr=null"], "optimizer.lr=None: transformers.optimization.Adafactor"),
        (["optimizer=adamw", "optimizer.lr=null"], "optimizer.lr=None: torch.optim.AdamW finds no rate by itself"),
        (["optimizer=adamw", "optimizer.lr=0"], "optimizer.lr=0: expected a number > 0"),
        (["optimizer=adamw", "optimizer.betas=[0.9,1]"], "optimizer.betas=[0.9, 1]: expected a list"),
        ([*PRODIGY], "optimizer.lr=0.001: another optimizer's rate: Prodigy"),
        (["optimizer=dadapt_lion", "optimizer.lr=1e-4"], "optimizer.lr=0.0001: another optimizer's rate: DAdaptLion"),
        (["optimizer=prodigy", "rates.text_encoder=0.5"], "rates.text_encoder=0.5: Prodigy finds one rate"),
        (["optimizer=dadapt_adam", "rates.loraplus_unet=16"], "rates.loraplus_unet=16: DAdaptAdam finds one rate"),
        (
            ["optimizer=any", "optimizer._target_=dadaptation.DAdaptSGD", "optimizer.lr=1", "scheduler.warmup=5"],
            "scheduler.warmup=5: DAdaptSGD divides by the first step's rate",
        ),
    ],
)
def test_an_optimizer_with_what_does_not_suit_it_is_refused(overrides: list[str], said: str) -> None:
    assert refused(*overrides).startswith(said)


def half(*overrides: str) -> None:
    check_half_precision(compose(list(overrides)).config["optimizer"], "fp16")


def test_optimizers_whose_squares_vanish_in_half_precision_are_refused() -> None:
    for passes in ("lion", "sgd", "adafactor", "adafactor_fixed", "adamw8bit"):
        half(f"optimizer={passes}")
    for name, refuses in (("adamw", "AdamW"), ("schedulefree", "AdamWScheduleFree"), ("prodigy", "Prodigy")):
        with pytest.raises(UserError, match=rf"train\.network_precision=fp16: {refuses} would keep squared gradients"):
            half(f"optimizer={name}")
    check_half_precision(compose(["optimizer=adamw"]).config["optimizer"], "bf16")


def rates_of(model: str, *overrides: str) -> None:
    config = compose([*overrides]).config
    layout = {"sdxl": sdxl.LAYOUT, "sd15": sd15.LAYOUT}[model]
    check_rates(config["rates"], config["network"], layout)


BOTH = "network.text_encoders=true"


def test_rates_that_the_network_and_the_model_have_use_for_pass() -> None:
    rates_of("sdxl", BOTH, "rates.unet=1e-4", "rates.text_encoder=[1e-5,2e-5]", "rates.loraplus_text_encoder=4")
    rates_of("sd15", BOTH, "rates.text_encoder=1e-5", f"rates.blocks={[1.0] * 25}")
    rates_of("sdxl", "network=dylora", "rates.loraplus_unet=16", f"rates.blocks={[0.5] * 23}")


@pytest.mark.parametrize(
    ("model", "overrides", "said"),
    [
        ("sdxl", ["rates.text_encoder=1e-5"], "rates.text_encoder=1e-05: has no effect with network.text_encoders=f"),
        ("sdxl", ["rates.loraplus_text_encoder=4"], "rates.loraplus_text_encoder=4: has no effect with network.text_"),
        ("sdxl", [BOTH, "network.unet=false", "rates.unet=1e-5"], "rates.unet=1e-05: has no effect with network.unet"),
        ("sd15", [BOTH, "rates.text_encoder=[1e-5,2e-5]"], "rates.text_encoder=[1e-05, 2e-05]: sd15 has one text enc"),
        ("sdxl", ["rates.blocks=[1.0,2.0]"], "rates.blocks=1.0,2.0: 2 numbers, but this model's U-Net (sdxl) has 23"),
        ("sd15", [f"rates.blocks={[1.0] * 23}"], f"rates.blocks={','.join(['1.0'] * 23)}: 23 numbers, but this model"),
        ("sdxl", ["rates.unet=0"], "rates.unet=0: it would not train; use network.unet=false"),
        ("sdxl", ["network=lokr", "rates.loraplus_unet=16"], "rates.loraplus_unet=16: LoKr has no B whose rate"),
    ],
)
def test_a_rate_without_use_is_refused(model: str, overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        rates_of(model, *overrides)
    assert str(caught.value).startswith(said)


def test_a_loss_that_means_nothing_for_the_models_prediction_is_refused() -> None:
    def loss(*overrides: str) -> dict[str, Any]:
        found: dict[str, Any] = compose(list(overrides)).config["loss"]
        return found

    check_loss(loss("loss.scale_v_like_epsilon=true"), "v_prediction")
    check_loss(loss("loss.v_pred_like=0.5"), "epsilon")
    check_loss({"_target_": "my_loss.own"}, "epsilon")
    with pytest.raises(UserError, match=r"loss\.scale_v_like_epsilon=True: needs a model that predicts v"):
        check_loss(loss("loss.scale_v_like_epsilon=true"), "epsilon")
    with pytest.raises(UserError, match=r"loss\.v_pred_like=0\.5: this model predicts v"):
        check_loss(loss("loss.v_pred_like=0.5"), "v_prediction")


def test_it_is_light() -> None:
    assert is_light("sweeplora.check.combinations")
