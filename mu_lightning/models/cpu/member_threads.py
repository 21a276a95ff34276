"""Runs work of several members in parallel, each on one CPU thread."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch


def run_parallel(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Runs independent functions on as many threads as torch uses, each on one thread, and returns their results."""
    threads = torch.get_num_threads()
    if threads == 1 or len(work) == 1:
        return [_bare(one) for one in work]
    return list(_pool(threads).map(_bare, work))


def spread(work: Sequence[Callable[[], Any]]) -> list[Any]:
    """Like `run_parallel`, but sequential with multi-threaded operations if there are fewer functions than threads."""
    if len(work) >= torch.get_num_threads():
        return run_parallel(work)
    return [_bare(one) for one in work]


def _bare(work: Callable[[], Any]) -> Any:
    # New threads have gradients enabled; the calling thread may have autocast enabled.
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        return work()


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = threading.Barrier(threads + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first call in a thread resets its number of threads
        torch.set_num_threads(1)
        ready.wait()

    pool = ThreadPoolExecutor(threads, "members", begin)
    for _ in range(threads):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # for libraries that have one number for all threads
    return pool
