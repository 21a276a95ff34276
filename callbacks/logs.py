"""ContinuedLogs: continues the logs of a resumed run from its checkpoint, without gaps or duplicates."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mu_lightning.monitoring.loggers import ContinuedLogger


class ContinuedLogs(Callback):
    """Saves the position of each log in checkpoints, and truncates the logs when resuming.

    It supports the loggers in `mu_lightning.monitoring.loggers`; others are not changed.
    """

    def __init__(self) -> None:
        self._loggers: dict[str, ContinuedLogger] = {}
        self._positions: dict[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            found = [logger for logger in trainer.loggers if isinstance(logger, ContinuedLogger)]
            self._loggers = {f"{place} {type(one).__name__}": one for place, one in enumerate(found)}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        fresh = trainer.global_step == 0 and self._positions is None
        for name, logger in self._loggers.items():
            if fresh:  # a run that was killed before its first checkpoint starts from the beginning
                logger.continue_from(None)
            elif self._positions and name in self._positions:
                logger.continue_from(self._positions[name])

    def state_dict(self) -> dict[str, Any]:
        return {"positions": {name: logger.position() for name, logger in self._loggers.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._positions = state_dict["positions"]
