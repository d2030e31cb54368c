"""Flags about the loss, as the group `loss`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_BENT = ("huber", "smooth_l1")


def entries(given: Given) -> list[Entry]:
    """The group `loss`."""
    entries = [
        Entry("", "default", "loss", "mse"),
        given.taken("loss_type", "loss.kind", given["loss_type"]),
    ]
    if given["loss_type"] in _BENT:
        entries += _huber(given)
    else:
        names = [name for name in ("huber_c", "huber_schedule", "huber_scale") if name in given]
        entries += [no_effect(f"--{name}", "only huber and smooth_l1 read it") for name in names]
    entries += given.unless_zero("min_snr_gamma", "loss.min_snr_gamma", "0 weighs nothing")
    if "debiased_estimation_loss" in given:
        entries.append(became("--debiased_estimation_loss", "loss.debiased", True))
    return [*entries, *_between_predictions(given)]


def _huber(given: Given) -> list[Entry]:
    entries = [
        given.taken("huber_c", "loss.huber_c", given["huber_c"]),
        given.taken("huber_schedule", "loss.huber_schedule", given["huber_schedule"]),
    ]
    if given["huber_schedule"] != "snr" and given["huber_scale"] != 1:
        entries.append(became("--huber_scale", "loss.huber_scale", given["huber_scale"]))
    elif "huber_scale" in given:
        entries.append(no_effect("--huber_scale", "1 is the default, and the snr schedule does not read it"))
    return entries


def _between_predictions(given: Given) -> list[Entry]:
    entries: list[Entry] = []
    v = given["v_parameterization"]
    if "scale_v_pred_loss_like_noise_pred" in given:
        if not v:
            raise UserError("--scale_v_pred_loss_like_noise_pred", True, "needs --v_parameterization, as in sd-scripts")
        entries.append(became("--scale_v_pred_loss_like_noise_pred", "loss.scale_v_like_epsilon", True))
    if v and given["v_pred_like_loss"]:
        raise UserError(
            "--v_pred_like_loss",
            given["v_pred_like_loss"],
            "cannot be combined with --v_parameterization, as in sd-scripts",
        )
    return [*entries, *given.unless_zero("v_pred_like_loss", "loss.v_pred_like", "0 adds nothing")]
