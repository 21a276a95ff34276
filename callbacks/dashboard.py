"""Dashboard: accuracy around each merge, to every logger, to a table and to a picture in the run's folder."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from callbacks.merge import MergeCallback
from mu_lightning.evaluation.pictures import draw_merges
from mu_lightning.files import atomic_file

AXIS = "merge/index"


class Dashboard(Callback):
    """Reports each merge once it is made, under ``merge/*`` with the merge's index as the x axis.

    Put it after the `MergeCallback` that it watches. It keeps ``merges.csv`` and ``merges.svg`` / ``.png`` in
    `folder` up to date; W&B gets the same numbers with the index as their step metric, TensorBoard with the index as
    their step.

    Args:
        merges: the callback whose merges are reported.
        folder: the run's folder.
    """

    def __init__(self, merges: MergeCallback, folder: Path) -> None:
        self.merges = merges
        self.folder = folder
        self.reported = 0

    @rank_zero_only
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        new = self.merges.history[self.reported :]
        for record in new:
            for logger in trainer.loggers:
                _log(logger, record)
            self._say(trainer, record)
        self.reported += len(new)
        if new:
            with atomic_file(self.folder / "merges.csv") as temporary:
                _table(self.merges.history).to_csv(temporary, index=False)
            draw_merges(self.merges.history, self.merges.target, self.folder / "merges")

    def _say(self, trainer: Trainer, record: dict[str, Any]) -> None:
        found = record["targets"][self.merges.target]
        trainer.print(
            f"merge {record['index']} after epoch {record['epoch']} ({record['reason']}): {self.merges.target} dev "
            f"accuracy {found['mean_before']:.3f} (members' mean) -> {found['after']:.3f}, "
            f"{'committed' if record['committed'] else 'rolled back'}"
        )

    def state_dict(self) -> dict[str, Any]:
        return {"reported": self.reported}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reported = state_dict["reported"]


def merge_values(record: dict[str, Any]) -> dict[str, float]:
    """A merge's record as flat numbers named ``merge/...``; those of further targets begin with the target's name."""
    values = {
        AXIS: record["index"],
        "merge/epoch": record["epoch"],
        "merge/step": record["step"],
        "merge/committed": float(record["committed"]),
        "merge/seconds": record["seconds"],
        "merge/drift": record["drift"],
    }
    for place, (target, found) in enumerate(record["targets"].items()):
        prefix = f"merge/{target}" if place else "merge"
        values |= {
            f"{prefix}/accuracy_before": found["mean_before"],
            f"{prefix}/accuracy_after": found["after"],
            f"{prefix}/gain": found["gain"],
            **{f"{prefix}/before/{name}": value for name, value in found["before"].items()},
            **{f"{prefix}/weight/{name}": value for name, value in found["weights"].items()},
        }
    for name, found in record["sources"].items():
        values |= {f"merge/source_before/{name}": found["before"], f"merge/source_after/{name}": found["after"]}
    return values


def _table(history: list[dict[str, Any]]) -> Any:
    import pandas

    return pandas.DataFrame([merge_values(record) | {"merge/reason": record["reason"]} for record in history])


def _log(logger: Logger, record: dict[str, Any]) -> None:
    values = merge_values(record)
    if isinstance(logger, WandbLogger):
        logger.experiment.define_metric(AXIS)
        logger.experiment.define_metric("merge/*", step_metric=AXIS)
        logger.experiment.log(values)
    elif not isinstance(logger, CSVLogger):  # the CSV logger has one step axis, of optimiser steps: see merges.csv
        logger.log_metrics(values, step=record["index"])
