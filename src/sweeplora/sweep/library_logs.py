"""Nothing of the libraries on the screen: their warnings and log lines go to a file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def logging_to(file: Path) -> Iterator[None]:
    """Python's warnings and every logger's lines of level WARNING and above go to `file` meanwhile."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    others = list(root.handlers)
    root.handlers = [handler]
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers = others
        handler.close()
