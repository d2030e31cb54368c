"""How a night's training ended, and if it did not come to its end: was it the training itself, or the machine?"""

from __future__ import annotations

import re
from enum import StrEnum

from sweeplora.rundir.record import TrialRecord
from sweeplora.sweep.outcomes import out_of_memory

_MACHINE = re.compile(
    r"no space left|disk quota|input/output error|read-only file system|too many open files"
    r"|connection (refused|reset|aborted|error|timed out)|name resolution|network is unreachable|timed out"
    r"|(ecc|xid|nvlink) error|no cuda gpus are available|driver.*(mismatch|fail)",
    re.IGNORECASE,
)
"""What a training says of a disk, a server or a device that failed it."""


class Fault(StrEnum):
    """Who ended a training early."""

    NONE = "none"
    TRAINING = "training"
    """It diverged, failed by itself each time, or was refused: the code, or what it was asked."""
    MACHINE = "machine"
    """It was killed, ran out of disk or memory, lost a server or a device, or its night was cut off."""


def fault_of(record: TrialRecord | None) -> Fault:
    """Why a training has no result; NONE if it has one. No record: its night was cut off before it."""
    if record is None or record.verdict in ("running", "interrupted", "pruned"):
        return Fault.MACHINE
    if record.verdict == "complete":
        return Fault.NONE
    if record.verdict == "diverged":
        return Fault.TRAINING
    last = record.attempts[-1] if record.attempts else None
    message = reason_of(record)
    if (last is not None and last.outside) or of_the_machine(message):
        return Fault.MACHINE
    return Fault.TRAINING


def of_the_machine(message: str) -> bool:
    """Whether a training's last words tell of memory, a disk, a server or a device that failed it."""
    return out_of_memory(message) or _MACHINE.search(message) is not None


def reason_of(record: TrialRecord | None) -> str:
    """Its last words."""
    if record is None:
        return "it was never begun"
    last = record.attempts[-1].message if record.attempts else ""
    return record.message or last or f"it is {record.verdict}"
