"""What was already sent to the store: `mirror.json` beside a run's files, written only by the mirror."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sweeplora.rundir.files import read_sealed, sealed, write_whole
from sweeplora.rundir.folder import MIRROR

_NEW = {"system_offset"}
"""What the memories of earlier versions lack."""


@dataclass
class Sent:
    """How far one folder is mirrored. Losing it costs a comparison with the store, but never duplicates a point."""

    store: str
    """Address and experiment that all of this is about; another store starts from nothing."""
    identity: str = ""
    run_id: str | None = None
    offset: int = 0
    """Bytes of metrics.jsonl that were sent."""
    system_offset: int = 0
    """Bytes of system.jsonl that were sent."""
    newest: dict[str, int] = field(default_factory=dict)
    """The highest step sent, by metric."""
    files: dict[str, str] = field(default_factory=dict)
    """Fingerprint of the file last sent, by artifact name."""
    models: dict[str, str] = field(default_factory=dict)
    """The logged model of a weights file, by artifact name."""
    inputs: str = ""
    """Fingerprint of the data set last named as the run's input."""
    described: str = ""
    """Fingerprint of the name, parameters and tags last sent."""
    status: str = "RUNNING"
    """The state last sent; a new run is running."""
    complete: str = ""
    """Fingerprint of the folder when everything in it had been sent; empty while something is missing."""
    redone: bool = False
    """Some (metric, step) was written twice, by a training that went on from a checkpoint."""

    def save(self, folder: Path) -> None:
        """Write it atomically to its folder."""
        write_whole(folder / MIRROR, json.dumps(sealed(asdict(self))))


def read_sent(folder: Path, store: str) -> Sent:
    """What was sent of `folder` to this store; empty if there is no such file, it is damaged or about another store."""
    content = read_sealed(folder / MIRROR)
    known = set(asdict(Sent(store)))
    if content is None or content.get("store") != store or not known - _NEW <= set(content) <= known:
        return Sent(store)
    return Sent(**content)
