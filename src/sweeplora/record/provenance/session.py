"""Where a command ran from: git states, packages, hardware and the workspace's backup, written beside its runs.

A sweep that is continued later has a further session if anything of that changed; a trial belongs to the last one
that began before it. It is written into the folder, since a record must be replayable when all of this has changed.
"""

from __future__ import annotations

import getpass
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sweeplora.record.provenance import git
from sweeplora.record.provenance.workspace import Backup
from sweeplora.rundir.files import read_json, write_json, write_whole

FOLDER = "provenance"
FACTS = "session.json"
MANIFEST = "workspace.json"
_SLACK_SECONDS = 5.0
"""The record's process starts a moment after the command, and its first trial perhaps before it."""


def write_session(beside: Path, workspace: Path, backup: Backup | None) -> Path:
    """Describe this session below `<beside>/provenance/`; one that was the same is found again. Returns its folder."""
    files: dict[str, bytes] = {"packages.txt": _packages().encode()}
    repositories = []
    for label, root in _repositories(workspace).items():
        repository, patch = git.state(root)
        repositories.append({"label": label, **asdict(repository)})
        if patch:
            files[f"{label}.patch"] = patch
    backed_up = backup.name if backup is not None else ""
    if backup is not None:
        files[MANIFEST] = json.dumps(backup.manifest, indent=1).encode()
    facts = {"workspace": backed_up, "repositories": repositories, **_machine(workspace)}
    digest = _digest(facts, files)
    for folder in sorted((beside / FOLDER).glob(f"*-{digest}")):
        if (folder / FACTS).exists():
            return folder
    now = time.time()
    folder = beside / FOLDER / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(folder / name, content)
    write_json(folder / FACTS, {"time": round(now, 3), **facts})
    return folder


def session_of(beside: Path, started: float) -> Path | None:
    """The last session that began before `started` (seconds since the epoch), else the first there is."""
    found = [(read_json(path) or {}, path.parent) for path in sorted((beside / FOLDER).glob(f"*/{FACTS}"))]
    before = [folder for facts, folder in found if facts["time"] <= started + _SLACK_SECONDS]
    return before[-1] if before else next((folder for _, folder in found), None)


def backups_of(beside: Path) -> list[str]:
    """Names of the workspace backups that the sessions of a study or single run refer to."""
    found = [(read_json(path) or {}).get("workspace") for path in sorted((beside / FOLDER).glob(f"*/{FACTS}"))]
    return list(dict.fromkeys(name for name in found if name))


def tags_of(folder: Path) -> dict[str, str]:
    """What MLflow's own tags and ours say of a session: its first repository is the one that matters most."""
    facts = read_json(folder / FACTS) or {}
    tags = {
        "mlflow.user": facts["user"],
        "mlflow.source.type": "LOCAL",
        "sweeplora.host": facts["host"],
        "sweeplora.session": folder.name,
    }
    if facts["workspace"]:
        tags["sweeplora.workspace"] = facts["workspace"]
    for repository in reversed(facts["repositories"]):
        if repository["commit"]:
            tags["mlflow.source.git.commit"] = repository["commit"]
            tags["mlflow.source.git.dirty"] = str(repository["dirty"]).lower()
            tags["mlflow.source.git.branch"] = repository["branch"] or "detached"
            tags["mlflow.source.git.repoURL"] = repository["remotes"].get("origin", "")
    return {key: text for key, text in tags.items() if text}


def _digest(facts: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    return digest.hexdigest()[:8]


def _repositories(workspace: Path) -> dict[str, Path]:
    """Checkouts that matter, by label, each once: the workspace's, this package's, LyCORIS' where it is one."""
    found: dict[str, Path] = {}
    for label, module in (("workspace", None), ("sweeplora", "sweeplora"), ("lycoris", "lycoris")):
        folder = workspace if module is None else _folder_of(module)
        root = git.repository_of(folder) if folder is not None else None
        is_environment = root is not None and folder is not None and "site-packages" in folder.parts
        if root is not None and root not in found.values() and not is_environment:
            found[label] = root
    return found


def _folder_of(module: str) -> Path | None:
    specification = importlib.util.find_spec(module)
    origin = specification.origin if specification is not None else None
    return Path(origin).parent if origin else None


def _packages() -> str:
    """Every installed package with its version, one a line, sorted, as `pip freeze` has them."""
    found = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def _machine(workspace: Path) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "folder": str(workspace),
        "user": _user(),
        "host": socket.gethostname(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_mib": memory >> 20,
        "gpus": _gpus(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpus() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []
