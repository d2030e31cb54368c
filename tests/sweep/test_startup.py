from __future__ import annotations

import gc

import pytest

from sweeplora.sweep.startup import without_collections


def test_garbage_is_collected_again_after_the_start_whatever_happens_in_it() -> None:
    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with pytest.raises(KeyError), without_collections():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() and gc.get_freeze_count() == frozen
    gc.disable()
    try:
        with without_collections():
            pass
        assert not gc.isenabled(), "who had it off keeps it off"
    finally:
        gc.enable()
