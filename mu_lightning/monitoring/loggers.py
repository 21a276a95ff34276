"""Loggers that support resuming without gaps or duplicates.

Checkpoints have the position of each log. Later entries will be logged again, so files are truncated to the position;
W&B skips rows that it has already.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from mu_lightning.monitoring import wandb_files
from mu_lightning.utilities.files import atomic_file


@runtime_checkable
class ContinuedLogger(Protocol):
    """A logger that can be continued from a position."""

    def position(self) -> Any:
        """Returns the position of the log as plain values, after flushing to disk."""

    def continue_from(self, position: Any) -> None:
        """Truncates the log to a position; None for an empty log."""


def run_loggers(folder: Path, tensorboard: bool = False, wandb: bool = False) -> list[Logger]:
    """Creates the loggers of a run: CSV, and optionally TensorBoard and W&B.

    Args:
        folder: the run folder; existing logs are continued.
        tensorboard: whether to log to TensorBoard under ``<folder>/tensorboard``.
        wandb: whether to log to W&B, in the project ``mu-lightning`` or `WANDB_PROJECT`.
    """
    loggers: list[Logger] = [TableLogger(folder, name="logs", version="fit")]
    if tensorboard:
        loggers.append(EventLogger(folder, name="tensorboard", version="fit", default_hp_metric=False))
    if wandb:
        loggers.append(RunLogger(folder))
    return loggers


class _Table:
    """A CSV file with a growing set of columns."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "metrics.csv"
        self.columns: list[str] = []
        self.count = 0
        self.metrics: list[dict[str, Any]] = []  # buffered rows
        if self.path.is_file():
            rows = self._read()
            self.count = len(rows)
            self.columns = sorted(set().union(*rows)) if rows else []

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Adds values; all values of a step are one row."""
        row = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        row["step"] = self.count + len(self.metrics) if step is None else step
        last = self.metrics[-1] if self.metrics else {}
        if last.get("step") == row["step"] and all(last.get(name, value) == value for name, value in row.items()):
            last.update(row)
        else:
            self.metrics.append(row)

    def save(self) -> None:
        if not self.metrics:
            return
        columns = sorted(set(self.columns).union(*self.metrics))
        if columns == self.columns:
            with self.path.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, columns).writerows(self.metrics)
        else:
            earlier: list[dict[str, Any]] = [*self._read()] if self.count else []
            self._write(columns, [*earlier, *self.metrics])
        self.count += len(self.metrics)
        self.metrics = []

    def cut(self, count: int) -> None:
        """Truncates the file to `count` complete rows."""
        if self.path.is_file():
            rows = self._read()[:count]
            self._write(sorted(set().union(*rows)) if rows else [], rows)
            self.count = len(rows)

    def _read(self) -> list[dict[str, str]]:
        with self.path.open(newline="", encoding="utf-8") as stream:
            # A killed process may leave an incomplete line.
            rows = [row for row in csv.DictReader(stream) if None not in row.values()]
        return [{name: value for name, value in row.items() if value != ""} for row in rows]

    def _write(self, columns: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
        with atomic_file(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        self.columns = columns


class TableLogger(Logger):
    """A CSV logger like Lightning's, with atomic writes and resuming.

    Args:
        save_dir: the run folder.
        name: name of the log folder.
        version: name of the subfolder with ``metrics.csv``.
    """

    def __init__(self, save_dir: Path, name: str, version: str) -> None:
        super().__init__()
        self._run = save_dir
        self._logs = name, version
        self._table: _Table | None = None

    @property
    def name(self) -> str:
        return self._logs[0]

    @property
    def version(self) -> str:
        return self._logs[1]

    @property
    def save_dir(self) -> str:
        return str(self._run)

    @property
    def log_dir(self) -> str:
        return str(self._run.joinpath(*self._logs))

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._table is None:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            self._table = _Table(Path(self.log_dir))
        return self._table

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.experiment.log_metrics(metrics, step)

    def log_hyperparams(self, *arguments: Any, **named: Any) -> None:
        """Does nothing: the configuration is in the manifest."""

    @rank_zero_only
    def save(self) -> None:
        self.experiment.save()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()

    def position(self) -> int:
        self.save()
        count: int = self.experiment.count
        return count

    def continue_from(self, position: int | None) -> None:
        self.experiment.cut(position or 0)


class EventLogger(TensorBoardLogger):
    """Lightning's TensorBoard logger, with resuming."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._earlier = self._files()

    def _files(self) -> list[Path]:
        return sorted(Path(self.log_dir).glob("events.out.tfevents.*"))

    def position(self) -> dict[str, int]:
        self.save()
        return {path.name: path.stat().st_size for path in self._files()}

    def continue_from(self, position: Mapping[str, int] | None) -> None:
        for path in self._earlier:
            size = (position or {}).get(path.name, 0)
            if not size:
                path.unlink()
            elif size < path.stat().st_size:
                with path.open("r+b") as stream:
                    stream.truncate(size)


class RunLogger(WandbLogger):
    """Lightning's W&B logger, with resuming under the same id, also offline.

    Rows are numbered. A resumed run repeats the rows after its checkpoint exactly, so rows that W&B has recorded are
    skipped. ``wandb sync <folder>/wandb/offline-run-*`` combines the parts of an offline run.

    Args:
        folder: the run folder, which contains W&B's folder.
    """

    ROW = "trainer/row"

    def __init__(self, folder: Path) -> None:
        known = wandb_files.run_id(folder)
        rows = wandb_files.history(folder, known) if known else ()
        super().__init__(project=_project(), name=folder.name, save_dir=folder, experiment=_wandb_run(folder, known))
        self.recorded = max((row[self.ROW] for row in rows if self.ROW in row), default=0)
        self.count = 0

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.log_row({**metrics} if step is None else {**metrics, "trainer/global_step": step})

    def log_row(self, values: Mapping[str, Any]) -> bool:
        """Logs a row unless W&B has it; returns whether it was logged."""
        self.count += 1
        if self.count == 1:
            self.experiment.define_metric(self.ROW, hidden=True)
        if self.count > self.recorded:
            self.experiment.log({**values, self.ROW: self.count})
        return self.count > self.recorded

    def position(self) -> int:
        return self.count

    def continue_from(self, position: int | None) -> None:
        self.count = position or 0


@rank_zero_only
def _wandb_run(folder: Path, known: str | None) -> Any:
    """Starts or resumes the W&B run; Lightning's logger uses an option that W&B has removed."""
    import wandb

    run = wandb.init(project=_project(), name=folder.name, dir=folder, id=known, resume="allow")
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return run


def _project() -> str:
    return os.environ.get("WANDB_PROJECT") or "mu-lightning"
