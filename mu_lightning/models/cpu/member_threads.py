"""Work of members side by side: each piece on one of the CPU's threads, instead of all threads on one operation."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


def side_by_side(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of independent pieces of work: on as many threads as torch has, each piece on one of them."""
    threads = torch.get_num_threads()
    if threads == 1 or len(work) == 1:
        return [_bare(one) for one in work]
    return list(_pool(threads).map(_bare, work))


def spread(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """The same of work on large tensors: one piece after another where there are fewer than threads."""
    if len(work) >= torch.get_num_threads():
        return side_by_side(work)
    return [_bare(one) for one in work]


def _bare(work: Callable[[], Any]) -> Any:
    # A thread of its own begins with gradients; in this one autocast may be on, and would cast what we cast.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        return work()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question of this kind sets its number to the process's
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "members", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # for libraries that have one number for all threads
    return pool
