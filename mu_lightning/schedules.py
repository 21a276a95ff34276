"""When to merge: pure functions of what happened so far, with no knowledge of Lightning.

A schedule is added as one class with a `due` method and one line where settings are read (`schedule_of`).
"""

from dataclasses import dataclass
from typing import Protocol

from mu_lightning.errors import UserError


class Schedule(Protocol):
    """Decides at the end of each epoch."""

    def due(self, epoch: int, last_epoch: bool) -> str | None:
        """The reason to merge after epoch `epoch` (counted from 1), or None."""


@dataclass(frozen=True)
class EveryEpochs:
    """After every `n` epochs, and at the end, so that the run's result is a merged model; 0: at the end alone."""

    n: int

    def __post_init__(self) -> None:
        if self.n < 0:
            raise UserError(f"merge frequency {self.n}: expected a number of epochs, or 0 to merge only at the end")

    def due(self, epoch: int, last_epoch: bool) -> str | None:
        """The reason to merge after epoch `epoch` (counted from 1), or None."""
        if self.n and epoch % self.n == 0:
            return f"every {self.n} epochs" if self.n > 1 else "every epoch"
        return "end of training" if last_epoch else None
