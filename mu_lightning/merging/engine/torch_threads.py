"""Maps functions over tensors on several threads."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from mu_lightning.merging.engine.thread_pool import Item, Result, map_ordered


def map_tensors(function: Callable[[Item], Result], items: Sequence[Item], device: torch.device) -> Iterator[Result]:
    """Maps a function over items on as many threads as torch uses and yields the results in order.

    Each operation is then single-threaded, which is much faster for chunks that fit into the cache. A single item, and
    tensors on another device than the CPU, use torch's own threads.
    """
    threads = torch.get_num_threads()
    if min(threads, len(items)) <= 1 or device.type != "cpu":
        yield from map(function, items)
        return

    def work(item: Item) -> Result:
        with torch.no_grad():  # no_grad is per thread
            return function(item)

    with torch_threads(1):
        yield from map_ordered(work, items, threads)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Sets the number of torch's threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
