"""What a night ran on and with: device, machine, versions, commit. Recorded beside a baseline and compared with it."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from sweeplora.launch.slot import Slot
from sweeplora.record.provenance import environment, git

_ALSO = ("accelerate", "numpy", "pillow", "safetensors", "scipy", "tokenizers")
"""Libraries whose versions a signature leaves out, and that numbers could depend on all the same."""

CPU = "cpu"


@dataclass(frozen=True)
class Surroundings:
    """`device`: the kind, `cpu` or a GPU's name. `machine` and `versions`: name -> what it is. `commit`: of the source,
    with `+changes` where the checkout has uncommitted ones; empty outside of a checkout.
    """

    device: str
    machine: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""


def surroundings_of(slot: Slot, code: Mapping[str, str]) -> Surroundings:
    """Those of trainings in a slot; `code`: an experiment's source hash and versions of the libraries."""
    facts = environment.machine(Path.cwd())
    gpus = [line.split(", ") for line in facts["gpus"]]
    device = gpus[0][0] if slot.device == "cuda" and gpus else slot.device
    machine = {
        "processor": str(facts["processor"]),
        "cores": str(facts["cores"]),
        "threads": str(slot.threads),
        "processes": str(slot.processes),
        "memory_gib": str(round(facts["memory_mib"] / 1024)),
    }
    if slot.device == "cuda" and gpus:
        machine |= {"gpu": gpus[0][0], "driver": gpus[0][-1]}
    versions = {name: version for name, version in code.items() if name != "source"}
    versions |= {name: metadata.version(name) for name in _ALSO}
    build = facts["torch"]
    versions |= {"python": platform.python_version().rpartition(".")[0], "torch build": build.get("version", "")}
    return Surroundings(device, machine, versions, commit_of_source())


@functools.cache
def commit_of_source() -> str:
    """The commit of the checkout that this package is in, with `+changes` where it is not as committed."""
    here = Path(__file__).resolve().parent
    root = git.repository_of(here)
    if root is None or "site-packages" in here.parts:
        return ""
    state, _ = git.state(root, lambda path: None)
    return f"{state.commit or ''}{'+changes' if state.dirty else ''}"


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """What differs between two mappings of facts, as `torch 2.13.0 -> 2.14.0`."""
    names = sorted({*before, *after})
    return tuple(
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in names
        if before.get(name) != after.get(name)
    )
