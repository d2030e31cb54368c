"""Work done by threads a little ahead of whoever takes its results, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def prefetch(
    work: Callable[[ItemT], ResultT], items: Sequence[ItemT], threads: int, room: int
) -> Generator[ResultT, None, None]:
    """`work(item)` for each item in order, at most `room` of them begun before they are taken.

    Without threads each is done when it is taken. What `work` raises comes out at its own item. Closing the
    iterator drops what was not begun and waits for what was.
    """
    if threads == 0:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(threads)
    begun: deque[Future[ResultT]] = deque()
    try:
        for item in items:
            if len(begun) >= room:
                yield begun.popleft().result()
            begun.append(pool.submit(work, item))
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
