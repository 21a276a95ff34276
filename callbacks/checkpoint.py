"""RunCheckpoint: saves checkpoints at intervals, before merges and on a stop."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from mu_lightning.settings import CheckpointSettings
from mu_lightning.training.checkpointing.random_state import random_state, set_random_state
from mu_lightning.training.checkpointing.run_checkpoints import (
    BEFORE_MERGE,
    RECORD,
    mark_finished,
    next_number,
    prune,
    read_saved,
    write_checkpoint,
)
from mu_lightning.training.checkpointing.signals import STATUS, Signals
from mu_lightning.utilities.adapters.lightning_loops import as_after_step, as_before_epoch_end, resume_between_epochs
from mu_lightning.utilities.errors import Interrupted, UserError

from .merge import MergeCallback

# The hook in which a checkpoint is saved.
Place = Literal["start", "step", "before epoch end", "epoch end", "end"]


class DurableCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically and durably, with a manifest."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Writes a checkpoint; raises UserError if the disk is full."""
        write_checkpoint(checkpoint, Path(path))


class RunCheckpoint(Checkpoint):
    """Saves checkpoints for exact resuming and keeps the most recent ones.

    Checkpoints are saved at the start, at intervals and at the end; optionally before merges; and on SIGTERM or Ctrl-C
    at the end of the step, followed by `Interrupted`. It must be the last callback, so that checkpoints at the end of
    an epoch include the actions of other callbacks.

    Args:
        folder: folder of the checkpoints.
        config: configuration of the run as plain values, which must be the same when resuming.
        settings: intervals and number of checkpoints.

    Attributes:
        failure: an error that stops the run at the end of the step, after saving.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], settings: CheckpointSettings) -> None:
        self.folder = folder
        self.config = dict(config)
        self.settings = settings
        self.signals = Signals()
        self.failure: UserError | None = None
        self._merges: MergeCallback | None = None
        self._place: Place = "start"
        self._reason = ""
        self._last_step = -1
        self._restored: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        resume_between_epochs(trainer)
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        self._merges = next((one for one in callbacks if isinstance(one, MergeCallback)), None)
        if self._merges is not None and self.settings.before_merge:
            self._merges.before_merge = self._before_merge

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._place = "start"
        self.signals.install()
        if self._restored is not None:
            self._go_on(trainer, self._restored)
        else:
            self._save(trainer, "start")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # At this point, unlike at the end of the previous step, that step has been logged.
        if batch_idx == 0 or batch_idx % trainer.accumulate_grad_batches:
            return
        self._place = "step"
        if self.settings.every_n_steps and trainer.global_step % self.settings.every_n_steps == 0:
            self._save(trainer, "interval")
        self._heed_signals(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._place = "epoch end"
        if self._restored is not None and self._restored["reason"] == BEFORE_MERGE:
            trainer.should_stop |= self._restored["should_stop"]
        self._restored = None
        if self.settings.every_n_epochs and (trainer.current_epoch + 1) % self.settings.every_n_epochs == 0:
            self._save(trainer, "interval")
        self._heed_signals(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._place = "end"
        path = self._save(trainer, "end")
        if trainer.is_global_zero:
            mark_finished(path)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.signals.restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.signals.restore()

    def _save(self, trainer: Trainer, reason: str) -> Path:
        """Saves a checkpoint unless this state has been saved."""
        epochs = trainer.current_epoch + (self._place == "epoch end")
        before_merge = reason == BEFORE_MERGE
        name = f"epoch={epochs}-step={trainer.global_step}"
        if before_merge:
            assert self._merges is not None
            name += f"-before-merge={len(self._merges.history) + 1}"
        path = self.folder / f"{name}.ckpt"
        there = not before_merge and self._last_step == trainer.global_step
        if not there and not trainer.strategy.broadcast(_is_whole(path)):
            for logger in trainer.loggers:
                logger.save()
            self._reason = reason
            trainer.save_checkpoint(path)
            if trainer.is_global_zero and self.settings.keep > 0:
                prune(self.folder, self.settings.keep)
        if not before_merge:
            self._last_step = trainer.global_step
        return path

    def _before_merge(self, trainer: Trainer) -> None:
        if 0 < trainer.max_steps <= trainer.global_step:
            return  # Lightning would not run the end of the epoch when resuming from here
        assert self._merges is not None
        self._place = "before epoch end" if self._merges.at_epoch_end else "step"
        self._save(trainer, BEFORE_MERGE)

    def _heed_signals(self, trainer: Trainer) -> None:
        signals, strategy = self.signals, trainer.strategy
        if self.failure is not None:
            self._save(trainer, "fault")
            raise self.failure
        signals.run_deferred()
        # All devices stop at the same step, regardless of which one got the signal.
        if not strategy.reduce_boolean_decision(signals.received is not None, all=False):
            return
        name = signals.received or "SIGTERM"
        self._save(trainer, "interrupted")
        raise Interrupted(name, STATUS[name], f"after step {trainer.global_step}")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self._place == "step":
            as_after_step(checkpoint["loops"], trainer.accumulate_grad_batches)
        elif self._place == "before epoch end":
            as_before_epoch_end(checkpoint["loops"], _validates(trainer))
        checkpoint[RECORD] = {
            "number": next_number(self.folder),
            "epoch": trainer.current_epoch + (self._place == "epoch end"),
            "step": trainer.global_step,
            "merges": len(self._merges.history) if self._merges else 0,
            "reason": self._reason or "signal",
            "finished": False,
            "config": self.config,
            "saved_at": time.time(),
            "should_stop": trainer.should_stop,
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            "random": random_state(),
        }
        self._reason = ""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._restored = checkpoint.get(RECORD)
        if self._restored is not None and self._restored["reason"] != BEFORE_MERGE:
            # A stopped run (early stopping) must not resume training, except before a pending merge.
            trainer.should_stop = self._restored["should_stop"]

    def _go_on(self, trainer: Trainer, restored: Mapping[str, Any]) -> None:
        metrics = {name: torch.tensor(value) for name, value in restored["metrics"].items()}
        trainer.callback_metrics.update(metrics)
        set_random_state(restored["random"])


def _is_whole(path: Path) -> bool:
    saved = read_saved(path)
    return saved is not None and saved.whole()


def _validates(trainer: Trainer) -> bool:
    every = trainer.check_val_every_n_epoch
    return trainer.enable_validation and (every is None or (trainer.current_epoch + 1) % every == 0)
