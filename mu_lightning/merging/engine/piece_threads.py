"""Works on several pieces of a tensor at a time: most of a merge is memory traffic, which one core cannot keep busy."""

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
    """How many threads torch uses, or would use if it were imported: OMP_NUM_THREADS, else one a processor."""
    if "torch" in sys.modules:
        count: int = sys.modules["torch"].get_num_threads()
        return count
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if given.isdecimal() and int(given):
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Has the C library keep up to 64 MB of freed memory, instead of giving it back to the system after every piece.

    glibc does so once an allocation of half that has been freed, none of which need have been touched (mallopt(3),
    M_MMAP_THRESHOLD); another library does as it always does. Getting the pages anew took a third of a linear merge.
    """
    np.empty(2**25 - 2**16, np.uint8)


def in_order(function: Callable[[Item], Result], items: Sequence[Item], threads: int) -> Iterator[Result]:
    """Yields `function` of each item, in order, computed on so many threads; one item alone, on the caller's."""
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
    # One for the whole program: a merge has hundreds of tensors, and starting threads for each takes as long as some.
    return ThreadPoolExecutor(threads, "merging")
