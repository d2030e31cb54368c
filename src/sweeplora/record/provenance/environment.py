"""The environment of a session: packages as a lock, Python, torch's build, hardware, driver, allow-listed variables."""

from __future__ import annotations

import functools
import getpass
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sweeplora.record.provenance.secret import without_credentials

LOCK = "requirements.txt"

_VARIABLES = re.compile(
    r"(OMP|KMP|GOMP|MKL|DNNL|ONEDNN|OPENBLAS|PYTORCH|TORCH|TORCHINDUCTOR|CUDA|CUBLAS|CUDNN|NCCL|NVIDIA|ATEN|ACCELERATE"
    r")_\w+|PYTHONHASHSEED|PYTHONOPTIMIZE|HF_HUB_OFFLINE|XFORMERS_\w+|LD_PRELOAD"
)
_NAME_LINE = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_VERSION_LINE = re.compile(r"^Version:[ \t]*(\S+)", re.MULTILINE)
_SECONDS = 10
_TORCH_LINE = re.compile(r"^(\w+)(?:\s*:\s*[^=]+)?\s*=\s*'([^']*)'", re.MULTILINE)


class Package(NamedTuple):
    """An installed package; `origin`: what pip recorded of the address that it came from, empty if it was an index."""

    name: str
    version: str
    origin: Mapping[str, Any]

    @property
    def pinned(self) -> str:
        """`name==version`."""
        return f"{self.name}=={self.version}"


def installed() -> list[Package]:
    """Every installed package, in no order; one that is found twice is listed twice."""
    return [package for each in importlib.metadata.distributions() if (package := _package(each)) is not None]


def packages(found: Iterable[Package]) -> str:
    """Every installed package with its version, one per line, sorted, as in `pip freeze`."""
    return "".join(f"{line}\n" for line in sorted({package.pinned for package in found}, key=str.lower))


def lock(found: Iterable[Package]) -> str:
    """The environment as a file for `pip install -r`: a comment on Python, torch and the driver, then each package.

    A package that was installed from an address has the address and, where pip recorded it, the file's sha256; one
    installed from a folder is a comment, since its state is that of a checkout.
    """
    torch = torch_build()
    head = [
        f"# Python {platform.python_version()}, {platform.python_implementation()}, {platform.platform()}",
        f"# torch {torch.get('version', 'not installed')}, CUDA {torch.get('cuda') or 'none'}",
        *(f"# GPU {line}" for line in gpus()),
    ]
    lines = {_locked(package) for package in found}
    return "".join(f"{line}\n" for line in [*head, *sorted(lines, key=str.lower)])


def torch_build() -> dict[str, str]:
    """Version, CUDA version and git commit of the installed torch, read from its version.py without importing it."""
    specification = importlib.util.find_spec("torch")
    if specification is None or not specification.origin:
        return {}
    try:
        text = Path(specification.origin).with_name("version.py").read_text()
    except OSError:
        return {}
    said = dict(_TORCH_LINE.findall(text))
    named = {"version": said.get("__version__"), "cuda": said.get("cuda"), "hip": said.get("hip")}
    named["commit"] = said.get("git_version")
    return {key: value for key, value in named.items() if value}


def variables() -> dict[str, str]:
    """The environment variables that numbers may depend on, by an allow-list; others are not recorded.

    OMP_NUM_THREADS is left out: a launcher sets it for each training, whose record has the number of threads.
    """
    named = {name: text for name, text in sorted(os.environ.items()) if _VARIABLES.fullmatch(name)}
    named.pop("OMP_NUM_THREADS", None)
    return {name: without_credentials(text) for name, text in named.items()}


def machine(workspace: Path) -> dict[str, Any]:
    """Where and on what a session ran."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "folder": str(workspace),
        "user": _user(),
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "torch": torch_build(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": memory >> 20,
        "gpus": gpus(),
        "variables": variables(),
    }


@functools.cache
def gpus() -> list[str]:
    """Name, memory and driver version of each NVIDIA GPU."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs
        return []
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []


def _package(each: importlib.metadata.Distribution) -> Package | None:
    """A package by two lines of its metadata: to parse all of it, for hundreds of packages, takes a quarter second."""
    text = each.read_text("METADATA") or each.read_text("PKG-INFO") or ""
    head = text.partition("\n\n")[0]
    name, version = (pattern.search(head) for pattern in (_NAME_LINE, _VERSION_LINE))
    if name is None:
        return None
    try:
        origin = json.loads(each.read_text("direct_url.json") or "{}")
    except (OSError, ValueError):
        origin = {}
    return Package(name[1], version[1] if version is not None else "", origin if isinstance(origin, dict) else {})


def _locked(package: Package) -> str:
    """A package's line of the lock: its version, or the address that pip installed it from."""
    name, origin = package.name, package.origin
    url = without_credentials(str(origin.get("url") or ""))
    if not url:
        return package.pinned
    if "dir_info" in origin:
        return f"# {package.pinned} is the checkout {url}"
    if "vcs_info" in origin:
        return f"{name} @ {origin['vcs_info'].get('vcs', 'git')}+{url}@{origin['vcs_info'].get('commit_id', '')}"
    digest = (origin.get("archive_info") or {}).get("hashes", {}).get("sha256")
    return f"{name} @ {url}{f' --hash=sha256:{digest}' if digest else ''}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        return str(os.getuid())


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(errors="replace").splitlines() if listing.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
