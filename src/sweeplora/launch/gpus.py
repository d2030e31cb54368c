"""The GPUs visible to a training on this machine, found without torch."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

_ANSWER_SECONDS = 10.0
_A_NAME = re.compile(r"\d+|GPU-\S+|MIG-\S+")
_GPU_LINE = re.compile(r"GPU (\d+):")
_MIG_LINE = re.compile(r"\s+MIG .*\(UUID: (MIG-\S+)\)")
_NONE = re.compile(r"No devices (were )?found")


class NoAnswer(Exception):
    """nvidia-smi gave no usable answer; the message says what it did instead."""


def visible_gpus(environment: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Names of the GPUs a child process would see, as in CUDA_VISIBLE_DEVICES: indices, GPU- and MIG- names.

    Like CUDA itself, ignores everything after the first invalid name. Raises NoAnswer.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        program = shutil.which("nvidia-smi")
        return () if program is None else _listed_by(program)
    names = [name.strip() for name in named.split(",")]
    good = next((at for at, name in enumerate(names) if not _A_NAME.fullmatch(name)), len(names))
    return tuple(names[:good])


@lru_cache(maxsize=8)
def _listed_by(program: str) -> tuple[str, ...]:
    """What `nvidia-smi -L` lists: each GPU's index, or the names of its MIG devices instead."""
    code, text = _answer_of(program)
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if gpu := _GPU_LINE.match(line):
            found.append((gpu[1], []))
        elif found and (mig := _MIG_LINE.match(line)):
            found[-1][1].append(mig[1])
    if not found and not _NONE.search(text) and (code != 0 or text.strip()):
        first = next((line.strip() for line in text.splitlines() if line.strip()), "nothing")
        raise NoAnswer(f"nvidia-smi said: {first[:200].rstrip('.')} (exit code {code})")
    return tuple(name for number, migs in found for name in migs or [number])


def _answer_of(program: str) -> tuple[int, str]:
    try:
        process = subprocess.Popen(
            [program, "-L"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise NoAnswer(f"{program} cannot be run: {error.strerror}") from None
    try:
        text, _ = process.communicate(timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        # It may hang inside the driver, where no signal reaches it: do not wait for it.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise NoAnswer(f"nvidia-smi did not answer within {_ANSWER_SECONDS:g} s") from None
    return process.returncode, text
