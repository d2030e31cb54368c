"""Flags about the noise that is added to latents, as the group `noise`."""

from __future__ import annotations

from sweeplora.convert.entries import Entry, became, no_effect
from sweeplora.convert.reading.given import Given
from sweeplora.errors import UserError


def entries(given: Given) -> list[Entry]:
    """The group `noise`."""
    return [Entry("", "default", "noise", "plain"), *_offset(given), *_pyramid(given), *_perturbed(given)]


def _offset(given: Given) -> list[Entry]:
    if not given["noise_offset"]:
        if "adaptive_noise_scale" in given and "noise_offset" not in given:
            raise UserError(
                "--adaptive_noise_scale", given["adaptive_noise_scale"], "needs --noise_offset, as in sd-scripts"
            )
        flags = ("noise_offset", "noise_offset_random_strength", "adaptive_noise_scale")
        names = [name for name in flags if name in given]
        return [no_effect(f"--{name}", "the offset is 0") for name in names]
    entries = [became("--noise_offset", "noise.offset", given["noise_offset"])]
    if "noise_offset_random_strength" in given:
        note = "sweeplora draws it per image, sd-scripts per batch"
        entries.append(became("--noise_offset_random_strength", "noise.offset_random_strength", True, note))
    return [*entries, *given.unless_zero("adaptive_noise_scale", "noise.adaptive_scale", "0 adds nothing")]


def _pyramid(given: Given) -> list[Entry]:
    if not given["multires_noise_iterations"]:
        names = [name for name in ("multires_noise_iterations", "multires_noise_discount") if name in given]
        return [no_effect(f"--{name}", "without iterations there is no pyramid noise") for name in names]
    note = "sizes are sweeplora draws it per image, sd-scripts per batch"
    return [
        became("--multires_noise_iterations", "noise.multires_iterations", given["multires_noise_iterations"], note),
        given.taken("multires_noise_discount", "noise.multires_discount", given["multires_noise_discount"]),
    ]


def _perturbed(given: Given) -> list[Entry]:
    if not given["ip_noise_gamma"]:
        names = [name for name in ("ip_noise_gamma", "ip_noise_gamma_random_strength") if name in given]
        return [no_effect(f"--{name}", "gamma is nothing") for name in names]
    entries = [became("--ip_noise_gamma", "noise.input_gamma", given["ip_noise_gamma"])]
    if "ip_noise_gamma_random_strength" in given:
        entries.append(became("--ip_noise_gamma_random_strength", "noise.input_gamma_random_strength", True))
    return entries
