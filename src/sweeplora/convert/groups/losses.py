"""Flags about noise, timesteps and the loss."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, idle
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError

_BENT = ("huber", "smooth_l1")


def noise(given: Given) -> list[Entry]:
    """The group `noise`."""
    return [Entry("", "default", "noise", "plain"), *_offset(given), *_pyramid(given), *_perturbed(given)]


def _offset(given: Given) -> list[Entry]:
    if not given["noise_offset"]:
        if "adaptive_noise_scale" in given and "noise_offset" not in given:
            raise UserError("--adaptive_noise_scale", given["adaptive_noise_scale"], "needs --noise_offset, there too")
        flags = ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")
        names = [name for name in flags if name in given]
        return [idle(f"--{name}", "the offset is nothing") for name in names]
    entries = [became("--noise_offset", "noise.offset", given["noise_offset"])]
    if "noise_offset_random_strength" in given:
        note = "drawn for each image here, once a batch there"
        entries.append(became("--noise_offset_random_strength", "noise.offset_random_strength", True, note))
    return [*entries, *given.unless_zero("adaptive_noise_scale", "noise.adaptive_scale", "0 adds nothing")]


def _pyramid(given: Given) -> list[Entry]:
    if not given["multires_noise_iterations"]:
        names = [name for name in ("multires_noise_iterations", "multires_noise_discount") if name in given]
        return [idle(f"--{name}", "no iterations, no pyramid noise") for name in names]
    note = "sizes are drawn for each image here, once a batch there"
    return [
        became("--multires_noise_iterations", "noise.multires_iterations", given["multires_noise_iterations"], note),
        given.taken("multires_noise_discount", "noise.multires_discount", given["multires_noise_discount"]),
    ]


def _perturbed(given: Given) -> list[Entry]:
    if not given["ip_noise_gamma"]:
        names = [name for name in ("ip_noise_gamma", "ip_noise_gamma_random_strength") if name in given]
        return [idle(f"--{name}", "gamma is nothing") for name in names]
    entries = [became("--ip_noise_gamma", "noise.input_gamma", given["ip_noise_gamma"])]
    if "ip_noise_gamma_random_strength" in given:
        entries.append(became("--ip_noise_gamma_random_strength", "noise.input_gamma_random_strength", True))
    return entries


def loss(given: Given) -> list[Entry]:
    """The group `loss`."""
    entries = [
        Entry("", "default", "loss", "mse"),
        given.taken("loss_type", "loss.kind", given["loss_type"]),
    ]
    if given["loss_type"] in _BENT:
        entries += _huber(given)
    else:
        names = [name for name in ("huber_c", "huber_schedule", "huber_scale") if name in given]
        entries += [idle(f"--{name}", "only huber and smooth_l1 read it") for name in names]
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
        entries.append(idle("--huber_scale", "1 changes nothing, and the snr schedule does not read it"))
    return entries


def _between_predictions(given: Given) -> list[Entry]:
    entries: list[Entry] = []
    v = given["v_parameterization"]
    if "scale_v_pred_loss_like_noise_pred" in given:
        if not v:
            raise UserError("--scale_v_pred_loss_like_noise_pred", True, "needs --v_parameterization, there too")
        entries.append(became("--scale_v_pred_loss_like_noise_pred", "loss.scale_v_like_epsilon", True))
    if v and given["v_pred_like_loss"]:
        raise UserError("--v_pred_like_loss", given["v_pred_like_loss"], "not with --v_parameterization, there too")
    return [*entries, *given.unless_zero("v_pred_like_loss", "loss.v_pred_like", "0 adds nothing")]
