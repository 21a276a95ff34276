"""A thread pool for chunks: a merge is bound by memory bandwidth, which one core does not saturate."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
Result = TypeVar("Result")


def thread_count() -> int:
    """Number of threads that torch uses, or would use if imported: OMP_NUM_THREADS, else the number of CPUs."""
    if "torch" in sys.modules:
        count: int = sys.modules["torch"].get_num_threads()
        return count
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Makes glibc retain up to 64 MB of freed memory instead of releasing it to the system after every chunk.

    glibc raises its threshold after an allocation of half that size was freed, touched or not (mallopt(3),
    M_MMAP_THRESHOLD); other C libraries are unaffected. New page faults took a third of the time of a linear merge.
    """
    np.empty(2**25 - 2**16, np.uint8)


def map_ordered(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Maps a function over items on a thread pool and yields the results in order.

    A single item is processed on the calling thread.
    """
    if min(threads, len(items)) <= 1:
        yield from map(function, items)
        return
    pool = _pool(threads)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    # One pool per process: a merge has hundreds of tensors, and starting threads takes as long as merging a small one.
    return ThreadPoolExecutor(threads, "merging")
