"""Dashboard: reports each merge to all loggers and to the run folder."""

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mu_lightning.monitoring.sinks import report, write_files, write_plots

from .merge import MergeCallback


class Dashboard(Callback):
    """Reports each merge under ``merge/*``, with the index of the merge as the x axis.

    It must follow the `MergeCallback`. It updates ``merges.html``, ``merges.csv`` and ``merges.svg`` / ``.png`` in the
    run folder, and prints one line per merge.

    Args:
        merges: the merge callback.
        folder: the run folder.
        quiet: whether to print nothing.
    """

    # Plotting takes about a second: plots are updated after a hundred times as long, and at the end.
    PATIENCE = 100

    def __init__(self, merges: MergeCallback, folder: Path, quiet: bool = False) -> None:
        self.merges = merges
        self.folder = folder
        self.quiet = quiet
        self.reported = 0
        self._drawn, self._draw_at = 0, 0.0

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.reported:  # files may have merges after the checkpoint, or be missing
            write_files(self.folder, self.merges.history[: self.reported])

    @rank_zero_only
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._report(trainer)

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report(trainer)

    @rank_zero_only
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._report(trainer)
        self._draw()

    @rank_zero_only
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._draw()

    def _report(self, trainer: Trainer) -> None:
        history = self.merges.history
        if self.reported == len(history):
            return
        for place in range(self.reported, len(history)):
            for logger in trainer.loggers:
                report(logger, history[: place + 1])
            if not self.quiet:
                self._say(trainer, history[place])
        self.reported = len(history)
        write_files(self.folder, history)
        if time.monotonic() >= self._draw_at:
            self._draw()

    def _draw(self) -> None:
        if self._drawn < len(self.merges.history):
            started = time.monotonic()
            write_plots(self.folder, self.merges.history)
            self._drawn = len(self.merges.history)
            self._draw_at = time.monotonic() + self.PATIENCE * (time.monotonic() - started)

    def _say(self, trainer: Trainer, record: dict[str, Any]) -> None:
        for target, found in record["targets"].items():
            whose = target if found["scored_on"] == "target" else "sources'"
            trainer.print(
                f"merge {record['index']}, epoch {record['epoch']}, step {record['step']} ({record['reason']}): "
                f"{whose} dev accuracy {found['mean_before']:.3f} (members' mean) -> {found['after']:.3f}, "
                f"{'committed' if found['committed'] else 'rolled back'}"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reported = state_dict["reported"]
