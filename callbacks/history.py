"""History: writes scores and merges to a file, for replaying schedules."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mu_lightning.schedules.history import HISTORY
from mu_lightning.schedules.schedules import Past
from mu_lightning.utilities.files import write_json

from .merge import MergeCallback


class History(Callback):
    """Updates ``history.json`` in the run folder, for ``python cli.py schedule``.

    It is rewritten from the state of the `MergeCallback`, so that resumed runs have no gaps or duplicates.

    Args:
        merges: the merge callback; this callback must follow it.
        folder: the run folder.
    """

    def __init__(self, merges: MergeCallback, folder: Path) -> None:
        self.merges = merges
        self.folder = folder
        self._written = (0, 0)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if len(self.merges.history) != self._written[1]:
            self._write()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write()

    @rank_zero_only
    def _write(self) -> None:
        epochs, history = self.merges.epochs, self.merges.history
        self._written = (len(epochs), len(history))
        write_json(
            self.folder / HISTORY,
            {
                "targets": list(self.merges.targets),
                "schedule": self.merges.schedule.state(Past(epochs, history)),
                "epochs": epochs,
                "merges": history,
            },
        )
