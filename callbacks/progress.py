"""Progress: progress bar on a terminal, lines in a log file."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from mu_lightning.monitoring.forecast import duration, member_names, next_merge
from mu_lightning.schedules.schedules import Past

from .merge import MergeCallback


class Progress(TQDMProgressBar):
    """Lightning's progress bar with epoch, remaining time, next merge and members.

    If the output is not a terminal, it prints a line at the end of each epoch and every `seconds`.

    Args:
        seconds: interval between lines within an epoch.
    """

    # The most important values first: narrow terminals truncate the line.
    BAR_FORMAT = "{n_fmt}/{total_fmt} |{bar:12}| {desc}{postfix}"

    def __init__(self, seconds: float = 600.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._lines = False
        self._merges: MergeCallback | None = None
        self._started, self._done, self._said = 0.0, 0, 0.0
        self._next: tuple[Any, str] = (None, "")

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._lines = trainer.is_global_zero and not sys.stdout.isatty()
        if self._lines:
            self.disable()
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        self._merges = next((one for one in callbacks if isinstance(one, MergeCallback)), None)

    def on_train_start(self, trainer: Trainer, *arguments: Any) -> None:
        super().on_train_start(trainer, *arguments)
        self._started = self._said = time.monotonic()
        self._done = self._batches(trainer)

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        super().on_train_epoch_start(trainer, *arguments)
        if self._lines and self._batches(trainer) == self._done:  # at the start of training or when resuming
            print(
                f"{self._where(trainer, trainer.current_epoch)}; {int(trainer.num_training_batches)} batches an epoch",
                flush=True,
            )
        self.train_progress_bar.set_description(self._where(trainer, trainer.current_epoch))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if not self.train_progress_bar.disable:
            self.train_progress_bar.set_description(self._where(trainer, trainer.current_epoch), refresh=False)
        elif self._lines and time.monotonic() - self._said >= self.seconds:
            batches = f"batch {batch_idx + 1} of {int(trainer.num_training_batches)}"
            self._say(trainer, f"{self._where(trainer, trainer.current_epoch)}; {batches}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if self._lines:
            self._say(trainer, f"{self._where(trainer, trainer.current_epoch + 1)}")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        super().on_validation_batch_start(trainer, pl_module, batch, batch_idx, dataloader_idx)
        locale = trainer.datamodule.eval_locales[dataloader_idx]  # type: ignore[attr-defined]
        self.val_progress_bar.set_description(f"scoring {locale}, dev split", refresh=False)

    def print(self, *arguments: Any, **named: Any) -> None:
        """Prints a line above the progress bar."""
        if self._lines:
            print(*arguments, **{"flush": True, **named})
        else:
            super().print(*arguments, **named)

    def init_train_tqdm(self) -> Tqdm:
        bar = super().init_train_tqdm()
        bar.leave = False  # only lines of merges are kept
        return bar

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics

    def _say(self, trainer: Trainer, where: str) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        print(where if loss is None else f"{where}; loss {float(loss):.3f}", flush=True)
        self._said = time.monotonic()

    def _where(self, trainer: Trainer, done: int) -> str:
        """Returns epoch, remaining time, next merge and members."""
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        number = done if done > trainer.current_epoch else done + 1
        parts = [f"epoch {number}{f' of {epochs}' if epochs else ''}{' done' if done > trainer.current_epoch else ''}"]
        left = self._left(trainer)
        if left is not None:
            parts.append(f"{duration(left)} left")
        if self._merges is not None:
            parts.append(self._next_merge(self._merges, trainer, done, epochs))
        return ", ".join([*parts, member_names(list(trainer.datamodule.members))])  # type: ignore[attr-defined]

    def _next_merge(self, merges: MergeCallback, trainer: Trainer, done: int, epochs: int | None) -> str:
        known = (done, len(merges.epochs), len(merges.history))
        if self._next[0] != known:  # avoid querying the schedule in each batch
            steps = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
            past = Past(merges.epochs, merges.history)
            first = done * steps if done > trainer.current_epoch else trainer.current_epoch * steps
            self._next = (
                known,
                next_merge(merges.schedule, past, done, max(first, trainer.global_step), steps, epochs),
            )
        return self._next[1]

    def _batches(self, trainer: Trainer) -> int:
        return trainer.fit_loop.epoch_loop.total_batch_idx + 1

    def _left(self, trainer: Trainer) -> float | None:
        """Estimated remaining seconds, including merges and validation; None if unknown."""
        done = self._batches(trainer) - self._done
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        if done <= 0 or total in (-1, float("inf")):
            return None
        return max(0.0, (total - self._batches(trainer)) * (time.monotonic() - self._started) / done)
