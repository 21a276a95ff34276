"""Where tasks run: in this process, or in one process for each core or GPU of this machine.

A worker computes on one thread, so that results do not depend on how many there are. A worker that dies is replaced
and its tasks run again. Workers end with the process that started them, however that ends.
"""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, Protocol

import torch

from mu_lightning.approaches.evaluation_context import Bench
from mu_lightning.approaches.tasks import Outcome, Task, attempt
from mu_lightning.merging.engine.torch_threads import one_thread
from mu_lightning.utilities.errors import UserError

ATTEMPTS = 3


class Workers(Protocol):
    """What runs tasks on a bench.

    Attributes:
        share_files: whether the workers see this process' files.
    """

    share_files: bool

    def outcomes(self, bench: Bench, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks; gives each with what came of it, in the order in which they end."""


def devices(asked: str = "auto") -> list[str]:
    """The devices to compute on, one worker each: every GPU, or the CPU once for each core.

    Raises:
        UserError: CUDA is asked for where there is none.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if asked.startswith("cuda") and not gpus:
        raise UserError(f"--device {asked}: there is no CUDA device here")
    if asked == "cuda" or (asked == "auto" and gpus):
        return [f"cuda:{index}" for index in range(gpus)]
    return ["cpu"] * len(os.sched_getaffinity(0)) if asked in ("auto", "cpu") else [asked]


def local_workers(max_workers: int | None = None, device: str = "auto") -> "Workers":
    """The workers of this machine: at most `max_workers`, by default one a GPU or core.

    Raises:
        UserError: a number below 1, or a device that is not there.
    """
    if max_workers is not None and max_workers < 1:
        raise UserError(f"--max-workers must be at least 1, not {max_workers}")
    found = devices(device)
    wanted = len(found) if max_workers is None else max_workers
    chosen = [found[index % len(found)] for index in range(wanted)]
    return ThisProcess(chosen[0]) if wanted == 1 else Processes(chosen)


class ThisProcess:
    """Runs tasks one after another where they are."""

    share_files = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def outcomes(self, bench: Bench, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks in order."""
        here = replace(bench, device=self.device)
        for task in tasks:
            with one_thread():
                outcome = attempt(task, here)
            yield task, outcome


class Processes:
    """Runs tasks in processes, one for each of the devices."""

    share_files = True

    def __init__(self, chosen: Sequence[str]) -> None:
        self.devices = list(chosen)

    def outcomes(self, bench: Bench, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks; a worker that dies has its tasks run again by others, `ATTEMPTS` times at most."""
        waiting, lost = list(tasks), 0
        while waiting:
            with _pool(bench, self.devices[: len(waiting)]) as pool:
                futures = {pool.submit(_work, task): task for task in waiting}
                try:
                    for future in as_completed(futures):
                        outcome = future.result()
                        waiting.remove(futures[future])
                        lost = 0
                        yield futures[future], outcome
                except BrokenProcessPool:
                    lost += 1
            if lost == ATTEMPTS:
                error = f"a worker died {ATTEMPTS} times in a row: out of memory? fewer --max-workers need less"
                yield from ((task, Outcome(error=error)) for task in waiting)
                return


@contextlib.contextmanager
def _pool(bench: Bench, chosen: Sequence[str]) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for device in chosen:
        free.put(device)
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(len(chosen), context, _start, (bench, free))
    try:
        yield pool
    except BaseException:
        # Interrupted, or nobody asks for more: what still runs is of no use to anyone.
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


_bench: Bench | None = None


def _start(bench: Bench, free: Any) -> None:
    global _bench
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _bench = replace(bench, device=free.get())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Task) -> Outcome:
    assert _bench is not None
    return attempt(task, _bench)
