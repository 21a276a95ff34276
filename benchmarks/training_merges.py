"""What a merge of members in memory costs, in training steps of those members: part of `benchmarks/train.py --merge`.

A merge is what `MergeCallback` does to members and optimizer once a merge is decided: the merged model, every member's
weights replaced by it, both moments averaged, and the copy that the callback keeps. Scoring around it is not in it.
"""

import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from training_ours import fitting
from training_task import Task

GOALS: Mapping[str, float] = {"linear": 2.0, "ties": 20.0}  # a merge costs less than so many steps
REPEATS = 3


def merge_costs(task: Task) -> tuple[float, dict[str, float]]:
    """Median seconds of a step, and of a merge by each method, in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_measure, task).result()


def _measure(task: Task) -> tuple[float, dict[str, float]]:
    import torch
    from lightning.pytorch import Callback

    from mu_lightning import callbacks
    from mu_lightning.merging.engine.in_memory import merge_tensors
    from mu_lightning.schedules.schedules import Never
    from mu_lightning.settings import MergeSettings
    from mu_lightning.training.merging.merge_round import Proposal

    steps: list[float] = []
    costs: dict[str, list[float]] = {method: [] for method in GOALS}
    weights = dict.fromkeys(task.locales, 1 / len(task.locales))

    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def merge(callback: Any, trainer: Any, module: Any) -> None:
        members = {name: module.member(name) for name in task.locales}
        sample = next(iter(members.values()))
        found: dict[str, Any] = {name: {"weights": weights} for name in ("target",)}
        state = merge_tensors(
            callback.settings.method,
            {name: member.merge_state() for name, member in members.items()},
            weights,
            base=callback.base,
            frozen_rows=sample.frozen_rows(),
        )
        callback.models["target"] = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
        callback._carry_out(trainer, members, Proposal({"target": state}, state, None, found, {}, {}))

    class Watch(Callback):
        def on_train_batch_start(self, *given: Any) -> None:
            self.started = now()

        def on_train_batch_end(self, *given: Any) -> None:
            steps.append(now() - self.started)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            for _ in range(REPEATS):
                for method in GOALS:
                    callback = callbacks.MergeCallback("target", weights, Never(), MergeSettings(method=method))
                    callback.setup(trainer, module, "fit")
                    started = now()
                    merge(callback, trainer, module)
                    costs[method].append(now() - started)

    with TemporaryDirectory() as scratch:
        fitting(task, Path(scratch), Watch())
    return statistics.median(steps[task.warm :]), {method: statistics.median(each) for method, each in costs.items()}
