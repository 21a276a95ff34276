"""Throughput: logs utterances per second and memory of each device."""

import time
from collections.abc import Collection, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

GIB = 1024**3


class Throughput(Callback):
    """Logs ``speed/*`` and ``memory/*`` at the logging interval of the Trainer.

    ``speed/utterances_per_second`` (over all members and devices) and ``speed/steps_per_second`` cover training since
    the last log, without validation and merges. Each process logs ``memory/process_<rank>_gib`` (resident set size),
    and with a GPU ``memory/cuda_<rank>_peak_gib`` (peak memory of tensors).
    """

    def __init__(self) -> None:
        self._utterances = 0
        self._steps = 0
        self._step = 0
        self._started = 0.0
        self._busy = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clear()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._started = self._started or time.perf_counter()
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._utterances += utterances(batch, pl_module.stopped)  # type: ignore[arg-type]
        self._steps += trainer.global_step - self._step
        every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        # One log per optimizer step, not per batch, on all devices: gathering is collective.
        if every and trainer.global_step % every == 0 and trainer.global_step != self._step:
            self._log(trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(trainer)

    def _pause(self, trainer: Trainer) -> None:
        if self._started:
            _finish_work(trainer)
            self._busy += time.perf_counter() - self._started
            self._started = 0.0

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause(trainer)
        every = _gathered((self._utterances, *memory(trainer.strategy.root_device)))
        values = {
            "speed/utterances_per_second": sum(rows for rows, _, _ in every) / self._busy,
            "speed/steps_per_second": self._steps / self._busy,
        }
        for rank, (_, resident, peak) in enumerate(every):
            values[f"memory/process_{rank}_gib"] = resident
            if trainer.strategy.root_device.type == "cuda":
                values[f"memory/cuda_{rank}_peak_gib"] = peak
        pl_module.log_dict(values, batch_size=1, rank_zero_only=True)
        self._clear()

    def _clear(self) -> None:
        self._utterances, self._steps, self._started, self._busy = 0, 0, 0.0, 0.0


def utterances(batch: Mapping[str, Any], stopped: Collection[str] = ()) -> int:
    """Counts the train rows of a batch.

    Args:
        batch: member -> batch.
        stopped: members that have stopped.
    """
    return sum(len(part["labels"]) for name, part in batch.items() if name not in stopped)


def memory(device: torch.device) -> tuple[float, float]:
    """Resident memory of the process and peak GPU memory of its tensors, in GiB."""
    import psutil

    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return psutil.Process().memory_info().rss / GIB, peak / GIB


def _gathered(mine: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Gathers values from all processes, by rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    found: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(found, mine)
    return found


def _finish_work(trainer: Trainer) -> None:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize()
