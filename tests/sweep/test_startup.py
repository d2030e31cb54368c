from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from sweeplora.sweep.startup import what_is_there_kept, without_collections


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


@pytest.fixture
def nothing_frozen() -> Iterator[None]:
    """Nothing is kept out of collections, whatever an earlier test of this process left."""
    was_frozen = gc.get_freeze_count() > 0
    gc.unfreeze()
    yield
    if was_frozen:
        gc.freeze()


@pytest.mark.usefixtures("nothing_frozen")
def test_what_was_there_is_looked_at_again_only_afterwards() -> None:
    there: list[object] = []
    with pytest.raises(KeyError), what_is_there_kept():
        made: list[object] = []
        tracked = {id(one) for one in gc.get_objects()}
        assert id(there) not in tracked and id(made) in tracked
        with what_is_there_kept():
            pass
        assert gc.get_freeze_count() > 0, "the inner one leaves what the outer keeps"
        raise KeyError
    assert gc.get_freeze_count() == 0 and id(there) in {id(one) for one in gc.get_objects()}
