"""Whether a folder can be written to."""

from __future__ import annotations

import os
from pathlib import Path


def exists_and_writable(folder: Path) -> bool:
    """Whether files can be created in `folder`, or in the nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
