"""Threads that work on torch's tensors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from mu_lightning.merging.engine.piece_threads import Item, Result, in_order


def tensors_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterator[Result]:
    """Yields `function` of each item, in order, computed on as many threads as torch may use.

    Each thread's operations are then single-threaded, which for pieces that fit in the cache is much faster than many
    threads on each operation. One item alone, or tensors on another device than the CPU, keep torch's own threads.
    """
    threads = torch.get_num_threads()
    if min(threads, len(items)) <= 1 or device.type != "cpu":
        yield from map(function, items)
        return

    def work(item: Item) -> Result:
        with torch.no_grad():  # it holds for the thread that said so, not for these
            return function(item)

    with one_thread():
        yield from in_order(work, items, threads)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
