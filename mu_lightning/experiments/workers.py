"""Where tasks run: in one process for each core or GPU of this machine, or in this process.

A worker computes on as many threads as its task asks for, one by default, so that results do not depend on how many
workers there are. A worker that dies is replaced and its task runs again. Workers end with the process that started
them, however that ends.
"""

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from traceback import format_exception
from typing import Any, Protocol

import torch

from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.tasks import Outcome, Resources, Task, attempt
from mu_lightning.experiments.processes import process_context
from mu_lightning.merging.engine.torch_threads import torch_threads
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import temporary_folder

ATTEMPTS = 3


class Workers(Protocol):
    """What runs tasks on a context.

    Attributes:
        share_files: whether the workers see this process' files.
    """

    share_files: bool

    def outcomes(self, context: EvaluationContext, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks; gives each with what came of it, in the order in which they end."""


def devices(asked: str = "auto") -> list[str]:
    """The devices to compute on, one worker each: every GPU, or the CPU once for each core.

    Raises:
        UserError: a device that is not known, or CUDA where there is none.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    chosen = "cuda" if asked == "auto" and gpus else "cpu" if asked == "auto" else asked
    kind, _, number = chosen.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise UserError(f"--device {asked}: expected auto, cpu, cuda, or one GPU such as cuda:0")
    if kind == "cuda" and not gpus:
        raise UserError(f"--device {asked}: there is no CUDA device here")
    if number and int(number) >= gpus:
        raise UserError(f"--device {asked}: the CUDA devices here are numbered from 0 to {gpus - 1}")
    if chosen == "cuda":
        return [f"cuda:{index}" for index in range(gpus)]
    return ["cpu"] * cores() if chosen == "cpu" else [chosen]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def local_workers(max_workers: int | None = None, device: str = "auto") -> "Workers":
    """The workers of this machine.

    Args:
        max_workers: how many processes; None for one a GPU or core, 0 for none: the tasks run in this process.
        device: ``auto``, ``cpu``, ``cuda`` or one GPU.

    Raises:
        UserError: a number below 0, or a device that is not there.
    """
    if max_workers is not None and max_workers < 0:
        raise UserError(f"--max-workers is {max_workers}: expected a number of processes, or 0 for this process alone")
    found = devices(device)
    wanted = len(found) if max_workers is None else max_workers
    return Processes([found[index % len(found)] for index in range(wanted)]) if wanted else ThisProcess(found[0])


class ThisProcess:
    """Runs tasks one after another where they are, as a debugger needs them."""

    share_files = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def outcomes(self, context: EvaluationContext, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks in order."""
        here = replace(context, device=self.device)
        for task in tasks:
            with torch_threads(min(task.resources.threads, cores())):
                outcome = attempt(task, here)
            yield task, outcome


class Processes:
    """Runs tasks in processes, one for each of the devices.

    Args:
        chosen: the devices. Those named twice are shared, but not by tasks that need a device to themselves.
    """

    share_files = True

    def __init__(self, chosen: Sequence[str]) -> None:
        self.devices = list(chosen)

    def outcomes(self, context: EvaluationContext, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Starts the tasks in the given order, each as soon as there is a worker, a device and cores for it.

        A task whose worker dies runs again, `ATTEMPTS` times at most. Where workers die one after another while they
        start, the rest is not tried.
        """
        if not tasks:
            return
        with temporary_folder(Path(tempfile.gettempdir()) / "mu-lightning-workers", private=True) as scratch:
            _store(scratch / "context", context)
            with _workers(scratch, self.devices[: len(tasks)]) as workers:
                yield from self._outcomes(workers, tasks)

    def _outcomes(self, workers: "list[_Worker]", tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        waiting, running = deque(tasks), dict[Future[None], _Worker]()
        deaths: Counter[int] = Counter()
        never_started = 0
        while waiting or running:
            while waiting and (worker := _free(workers, list(running.values()), waiting[0].resources)) is not None:
                running[worker.start(waiting.popleft())] = worker
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker = running.pop(future)
                task = worker.task
                if isinstance(future.exception(), BrokenProcessPool):
                    never_started = 0 if worker.has_begun else never_started + 1
                    deaths[id(task)] += worker.has_begun
                    cause = worker.bury()
                    if deaths[id(task)] < ATTEMPTS:
                        waiting.appendleft(task)
                        continue
                    outcome = Outcome(error=f"its worker died {ATTEMPTS} times, the last time of {cause}")
                else:
                    never_started, outcome = 0, worker.outcome(future)
                yield task, outcome
            if never_started >= ATTEMPTS * len(workers):
                error = f"{never_started} workers in a row died while they started, the last one of {cause}"
                yield from ((task, Outcome(error=error)) for task in waiting)
                return


_CAUSES = {
    signal.SIGKILL: "is memory short? fewer --max-workers need less",
    signal.SIGBUS: "a file that it read has been cut short meanwhile, or shared memory is full",
}


def _free(workers: "list[_Worker]", busy: "list[_Worker]", wanted: Resources) -> "_Worker | None":
    """A worker for the next task; None while there is none, or its device or the cores that it needs are in use."""
    budget = max(cores(), len(workers))  # more workers than cores are what the user asked for
    used = sum(min(worker.task.resources.threads, budget) for worker in busy)
    if used + min(wanted.threads, budget) > budget:
        return None
    owned = {worker.device for worker in busy if worker.task.resources.device and worker.device != "cpu"}
    free = [worker for worker in workers if worker not in busy]
    return next((worker for worker in free if not (wanted.device and worker.device in owned)), None)


class _Worker:
    """An executor of one process, which is replaced when it dies.

    Only names of files go through its pipes: a process that dies while it reads or writes more than a pipe holds
    would leave this one waiting for ever.

    Args:
        scratch: where the context lies, and tasks and outcomes are exchanged.
        number: which worker it is.
        device: where it computes.
    """

    task: Task

    def __init__(self, scratch: Path, number: int, device: str) -> None:
        self.device = device
        self._scratch = scratch
        self._paths = (scratch / f"task-{number}", scratch / f"outcome-{number}")
        self._executor: ProcessPoolExecutor | None = None
        self._processes: set[Any] = set()

    def start(self, task: Task) -> "Future[None]":
        """Starts a task."""
        self.task = task
        _store(self._paths[0], task)
        before = set(multiprocessing.active_children())
        if self._executor is None:
            self._executor = ProcessPoolExecutor(1, process_context(), _prepare, (self._scratch, dict(os.environ)))
        future = self._executor.submit(_work, self._scratch, *self._paths, self.device)
        self._processes |= set(multiprocessing.active_children()) - before
        return future

    @property
    def has_begun(self) -> bool:
        """Whether the process came to its task."""
        return not self._paths[0].exists()

    def outcome(self, future: "Future[None]") -> Outcome:
        """What came of the task."""
        error = future.exception()
        if error is not None:  # the task or its outcome cannot be pickled
            return Outcome(error=f"{type(error).__name__}: {error}", traceback="".join(format_exception(error)))
        found: Outcome = _load(self._paths[1])
        return found

    def bury(self) -> str:
        """Lets go of a process that died, so that the next task starts another; returns what it died of."""
        self._end()
        codes = [process.exitcode for process in self._processes if process.exitcode]
        self._processes = set()
        if not codes or codes[0] > 0:
            return f"an error in it (exit status {codes[0] if codes else 'unknown'})"
        number = signal.Signals(-codes[0])
        return f"{number.name} ({_CAUSES[number]})" if number in _CAUSES else number.name

    def close(self, at_once: bool) -> None:
        """Ends the process, at once or after its task."""
        if at_once:
            for process in self._processes:
                process.terminate()
        self._end()

    def _end(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
        self._executor = None


@contextlib.contextmanager
def _workers(scratch: Path, chosen: Sequence[str]) -> "Iterator[list[_Worker]]":
    workers = [_Worker(scratch, number, device) for number, device in enumerate(chosen)]
    at_once = True  # interrupted, or nobody asks for more: what still runs is of no use to anyone
    try:
        yield workers
        at_once = False
    finally:
        for worker in workers:
            worker.close(at_once)


def _store(path: Path, value: Any) -> None:
    with path.open("wb") as stream:
        pickle.dump(value, stream, protocol=pickle.HIGHEST_PROTOCOL)


def _load(path: Path) -> Any:
    with path.open("rb") as stream:
        return pickle.load(stream)


def _prepare(scratch: Path, environment: Mapping[str, str]) -> None:
    """What a worker's process does first."""
    os.environ.clear()  # a server that has been started before knows an older one
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()


def _end_with_parent(scratch: Path) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)


def _work(scratch: Path, task_path: Path, outcome_path: Path, device: str) -> None:
    task: Task = _load(task_path)
    context = _context(scratch / "context", device)
    torch.set_num_threads(min(task.resources.threads, cores()))
    task_path.unlink()
    _store(outcome_path, attempt(task, context))


@lru_cache(maxsize=1)
def _context(path: Path, device: str) -> EvaluationContext:
    context: EvaluationContext = _load(path)
    return replace(context, device=device)
