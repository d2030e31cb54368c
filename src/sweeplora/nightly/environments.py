"""The interpreter for a checkout: this one where it pins the same packages, else a virtual environment of its own."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sweeplora.rundir.files import write_whole

_PIN = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*==\s*([^\s;#]+)")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_INSTALLED = "installed"
_ERROR_LENGTH = 300


class NotInstalled(Exception):
    """pip could not make an environment; the message is its own."""


@dataclass(frozen=True)
class Pins:
    """What a checkout depends on: `[project] dependencies` of its pyproject.toml, and versions of constraints.txt."""

    dependencies: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Twelve hex digits, equal for equal pins and the same version of Python."""
        text = json.dumps([self.dependencies, dict(self.versions), sys.version_info[:2]])
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def pins_of(root: Path) -> Pins:
    """The pins of a checkout, names of packages as PEP 503 compares them."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    constraints = root / "constraints.txt"
    lines = constraints.read_text().splitlines() if constraints.is_file() else []
    matches = [match for line in lines if (match := _PIN.match(line))]
    versions = {_canonical(match[1]): match[2] for match in matches}
    return Pins(tuple(sorted(project["dependencies"])), dict(sorted(versions.items())))


def differences(present: Pins, other: Pins) -> list[str]:
    """What two checkouts pin differently of what a training may import, a line each; empty if one environment serves.

    A version counts where both pin it; a range where none of them does.
    """
    pinned = present.versions.keys() & other.versions.keys()
    needed = required(map(_name_of, (*present.dependencies, *other.dependencies)))
    lines = [
        f"{name} {other.versions[name]}, here {present.versions[name]}"
        for name in sorted(pinned & needed)
        if present.versions[name] != other.versions[name]
    ]
    ranges = [line for line in other.dependencies if _name_of(line) not in pinned]
    return lines + [f"{line}, not here" for line in ranges if line not in present.dependencies]


def required(names: Iterable[str]) -> set[str]:
    """The packages of these names and all that they require without extras, as far as they are installed here."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        waiting += [_name_of(line) for line in lines if "extra ==" not in line]
    return found


def interpreter(present: Path, other: Path, folder: Path, say: Callable[[str], None]) -> Path:
    """The Python that runs the checkout at `other`: ours where `present` pins the same, else one made below `folder`.

    An environment is made once and kept under the digest of its pins. Raises NotInstalled.
    """
    wanted = pins_of(other)
    different = differences(pins_of(present), wanted)
    if not different:
        return Path(sys.executable)
    place = folder / wanted.digest
    python = place / "bin" / "python"
    if not (place / _INSTALLED).is_file():
        say(f"it pins {'; '.join(different[:5])}: pip installs an environment of its own into {place}")
        _make(place, python, wanted)
    return python


def _make(place: Path, python: Path, pins: Pins) -> None:
    shutil.rmtree(place, ignore_errors=True)  # a killed command left a part
    place.mkdir(parents=True)
    constraints = place / "constraints.txt"
    write_whole(constraints, "".join(f"{name}=={version}\n" for name, version in pins.versions.items()))
    _run([sys.executable, "-m", "venv", str(place)])
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--constraint", str(constraints)]
    if "torch" in pins.versions:  # asked for by name and version, it comes as a CPU build where one is provided
        _run([*pip, f"torch=={pins.versions['torch']}"])
    _run([*pip, *pins.dependencies])
    write_whole(place / _INSTALLED, "")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:] or ["pip failed"]
        raise NotInstalled("; ".join(errors)[:_ERROR_LENGTH])


def _name_of(requirement: str) -> str:
    match = _NAME.match(requirement)
    return _canonical(match[0]) if match is not None else requirement


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
