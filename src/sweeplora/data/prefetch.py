"""Runs work in threads a little ahead of the consumer, with results in order."""

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
    """`work(item)` for each item in order, with at most `room` of them started before they are due.

    Without threads each is done when it is due. An exception of `work` is raised at its item. Closing the iterator
    cancels work that has not started and waits for the rest.
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
