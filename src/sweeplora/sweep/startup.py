"""What a command allocates at its start stays (modules, parsed sources, configurations): no garbage is there."""

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


@contextmanager
def what_is_there_kept() -> Iterator[None]:
    """Look for garbage only in what is made within: what is there now stays, and each look at all of it takes long."""
    if gc.get_freeze_count():  # someone else keeps something out of collections
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
