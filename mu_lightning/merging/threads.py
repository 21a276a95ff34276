"""Works on several pieces of a tensor at a time: most of a merge is memory traffic, which one core cannot keep busy."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> Iterator[Result]:
    """Yields `function` of each item, in order, computed on as many threads as torch may use.

    Each thread's operations are then single-threaded, which for pieces that fit in the cache is much faster than many
    threads on each operation. One item alone, or tensors on another device than the CPU, keep torch's own threads.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1 or device.type != "cpu":
        yield from map(function, items)
        return

    def work(item: Item) -> Result:
        with torch.no_grad():  # it holds for the thread that said so, not for these
            return function(item)

    pool = _pool(torch.get_num_threads())
    with one_thread():
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
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


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
