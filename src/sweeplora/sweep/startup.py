"""The start of a command, which allocates what stays: modules, parsed sources, configurations."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage within: a fifth of the start would go into looking again and again at what stays.

    Afterwards all that is there counts as old, so that the next collections do not begin with it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if not gc.get_freeze_count():  # what someone else keeps out of collections stays out
                gc.freeze()
                gc.unfreeze()
            gc.enable()
