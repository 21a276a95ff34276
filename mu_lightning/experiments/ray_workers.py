"""Tasks on a Ray cluster. Models, tokens and statistics are put into its object store once; workers read them there.

A task whose worker is lost runs again on another: Ray does that by itself. Like the processes of one machine a worker
computes on as many threads as its task asks for, so the results are the same. Workers need this project installed,
but none of its files: only RegMean++ and AdaMerging, which learn for each merge anew, read model folders and corpus
where the workers are.
"""

import dataclasses
import warnings
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mu_lightning.approaches.evaluation_context import EvaluationContext, Tensors
from mu_lightning.approaches.from_text.learning import HeldTensors
from mu_lightning.approaches.tasks import Outcome, Task, attempt
from mu_lightning.experiments.ray_cluster import connect
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.file_stamps import watched_files

RETRIES = 3


@dataclass(frozen=True)
class RayTensors:
    """Tensors in Ray's object store: the workers of a machine share one copy."""

    reference: Any

    def load(self) -> Mapping[str, Tensor]:
        """The tensors, which lie in the store's memory."""
        import ray

        arrays: dict[str, np.ndarray] = ray.get(self.reference)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable.*")  # they are only read
            return {name: torch.from_numpy(array) for name, array in arrays.items()}


class RayWorkers:
    """Runs tasks on a Ray cluster.

    Args:
        address: ``auto`` (the cluster that this machine is part of), ``local`` (one of this machine alone, started
            for this run), or a cluster's address.
        max_workers: at most so many tasks at a time; None for as many as the cluster has room for.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """

    share_files = False

    def __init__(self, address: str, max_workers: int | None = None, device: str = "auto") -> None:
        if max_workers is not None and max_workers < 1:
            raise UserError(f"--max-workers must be at least 1, not {max_workers}")
        self._ray = connect(address, max_workers)
        resources = self._ray.cluster_resources()
        self._gpu = device != "cpu" and resources.get("GPU", 0) > 0
        if device.startswith("cuda") and not self._gpu:
            raise UserError(f"--device {device}: the Ray cluster has no GPU")
        self._most_cpus = _most_cpus(self._ray)
        room = resources.get("GPU" if self._gpu else "CPU", 1)
        # Some more than there is room for, so that no worker waits for its next task.
        self._at_a_time = max_workers or 2 * max(1, int(room))
        self._stored: dict[Tensors, RayTensors] = {}

    def outcomes(self, context: EvaluationContext, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Runs the tasks; gives each with what came of it, in the order in which they end."""
        ray = self._ray
        if not tasks:
            return
        context_reference = ray.put(self._portable(context))
        remote = ray.remote(max_retries=RETRIES)(_work)
        waiting, running = deque(tasks), dict[Any, Task]()
        try:
            while waiting or running:
                while waiting and len(running) < self._at_a_time:
                    task = waiting.popleft()
                    threads = min(task.resources.threads, self._most_cpus)
                    placed = remote.options(num_cpus=threads, num_gpus=1 if self._gpu else 0)
                    running[placed.remote([context_reference], self._shared(task), threads)] = task
                (done, *_), _ = ray.wait(list(running), num_returns=1)
                try:
                    outcome = ray.get(done)
                except ray.exceptions.RayError as error:
                    lines = str(error).strip().splitlines() or [type(error).__name__]
                    outcome = Outcome(error=f"its worker was lost {RETRIES + 1} times: {lines[0]}")
                yield running.pop(done), outcome
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _portable(self, context: EvaluationContext) -> EvaluationContext:
        """The context with everything by reference."""
        return replace(
            context,
            models={name: self._store(tensors) for name, tensors in context.models.items()},
            base=None if context.base is None else self._store(context.base),
            device="cuda" if self._gpu else "cpu",
        )

    def _shared(self, task: Task) -> Task:
        """The task with the statistics that it carries by reference."""
        statistics = getattr(task, "statistics", None)
        if not statistics:
            return task
        stored = {name: self._store(tensors) for name, tensors in statistics.items()}
        shared: Task = dataclasses.replace(task, statistics=stored)  # type: ignore[type-var]
        return shared

    def _store(self, tensors: Tensors) -> RayTensors:
        key: Any = id(tensors) if isinstance(tensors, HeldTensors) else tensors
        if key not in self._stored:
            with watched_files():
                arrays = {
                    name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
                    for name, tensor in tensors.load().items()
                }
                stored = RayTensors(self._ray.put(arrays))
            self._stored[key] = stored
        return self._stored[key]


def _most_cpus(ray: Any) -> int:
    """The CPUs of the largest machine of the cluster: a task that asked for more would wait for ever."""
    return max([1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])])


_held: tuple[Any, EvaluationContext] | None = None


def _work(context_reference: list[Any], task: Task, threads: int) -> Outcome:
    """Runs a task in a worker, which keeps the context from one task to the next."""
    import ray

    global _held
    (reference,) = context_reference
    if _held is None or _held[0] != reference:
        _held = (reference, ray.get(reference))
    torch.set_num_threads(threads)
    return attempt(task, _held[1])
