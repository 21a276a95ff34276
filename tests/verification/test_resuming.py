"""From whichever checkpoint a run goes on, it ends as the undisturbed one: weights, moments, merges and logs."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mu_lightning.callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from mu_lightning.callbacks.logs import ContinuedLogs
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.monitoring.loggers import TableLogger
from mu_lightning.schedules.parsing import schedule_of
from mu_lightning.settings import CheckpointSettings, MergeSettings
from mu_lightning.training.checkpointing.run_checkpoints import Saved, saved_checkpoints

MEMBERS = {"en-US": 0.5, "nl-NL": 0.3, "de-DE": 0.2}


def assert_same(one: Any, other: Any, where: str) -> None:
    """Equal to the bit, through nested mappings and lists."""
    if isinstance(one, dict | list):
        keys = one.keys() if isinstance(one, dict) else range(len(one))
        assert len(one) == len(other), where
        for key in keys:
            assert_same(one[key], other[key], f"{where}/{key}")
    else:
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other, where


class Run(NamedTuple):
    """What a run leaves."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: list[dict[str, Any]]
    logged: list[dict[str, str]]
    checkpoints: list[Saved]


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, dropout_base: Path, tmp_path: Path) -> Callable[..., Run]:
    """Trains, merging every second epoch and saving before merges and at every step; goes on from a checkpoint."""

    def go(
        name: str,
        resumed_from: Saved | None = None,
        epochs: int = 3,
        merging: MergeSettings = MergeSettings(frequency=2),  # noqa: B008
        **arguments: Any,
    ) -> Run:
        merges = MergeCallback("af-ZA", MEMBERS, schedule_of(merging), merging)
        settings = CheckpointSettings(before_merge=True, every_n_steps=1, keep=0)
        folder = tmp_path / name
        saving = RunCheckpoint(folder / "checkpoints", {}, settings)
        logs = folder / "log" / "metrics.csv"
        if resumed_from is not None:
            shutil.copytree(tmp_path / "whole" / "log", folder / "log")
        fitting = trainer(
            epochs,
            merges,
            ContinuedLogs(),
            saving,
            enable_checkpointing=True,
            logger=TableLogger(folder, name="log", version=""),
            plugins=[DurableCheckpointIO()],
            log_every_n_steps=1,
            **{"limit_val_batches": 1.0, **arguments},
        )
        module = joint(list(MEMBERS), dropout_base)
        fitting.fit(
            module,
            datamodule=data_module(list(MEMBERS)),
            ckpt_path=resumed_from.path if resumed_from else None,
            weights_only=True,
        )
        history = [{key: value for key, value in record.items() if key != "seconds"} for record in merges.history]
        with logs.open(newline="") as lines:
            logged = list(csv.DictReader(lines))
        saved = saved_checkpoints(folder / "checkpoints")
        return Run(module.state_dict(), fitting.optimizers[0].state_dict(), history, logged, saved)

    return go


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="plain"),
        pytest.param({"accumulate_grad_batches": 3}, id="accumulating gradients"),
        pytest.param({"limit_val_batches": 0}, id="without validation"),
        pytest.param({"check_val_every_n_epoch": 2}, id="validating now and then"),
        pytest.param({"max_steps": 20}, id="ending at a step"),
    ],
)
@pytest.mark.filterwarnings("error:You're resuming from a checkpoint that ended before the epoch ended")
def test_from_each_kind_of_checkpoint_a_run_ends_as_the_undisturbed_one(
    run: Callable[..., Run], arguments: dict[str, Any]
) -> None:
    """Every step's checkpoint is there; the start, an epoch's end, a step and each merge are gone on from."""
    whole = run("whole", **arguments)
    before_merges = [saved for saved in whole.checkpoints if saved.reason == "before merge"]
    assert [saved.merges for saved in before_merges] == [0, 1][: 1 if "max_steps" in arguments else 2]
    assert len({saved.step for saved in whole.checkpoints}) == whole.checkpoints[-1].step + 1, (
        "a step has no checkpoint"
    )
    epochs = {saved.epoch: saved for saved in whole.checkpoints if saved.reason == "interval"}
    steps = [saved for saved in whole.checkpoints if saved.reason == "interval" and saved not in epochs.values()]
    for saved in (whole.checkpoints[0], epochs[1], steps[-1], *before_merges):
        resumed = run(saved.path.stem, saved, **arguments)
        for what in ("weights", "optimizer", "history", "logged"):
            assert_same(getattr(whole, what), getattr(resumed, what), f"{saved.path.stem}: {what}")


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.filterwarnings("error:You're resuming from a checkpoint that ended before the epoch ended")
def test_from_before_and_after_a_merge_between_steps_a_run_ends_as_the_undisturbed_one(
    run: Callable[..., Run], accumulate: int
) -> None:
    settings = MergeSettings(schedule="every-steps:n=2", outer="nesterov", learning_rate="rewarm", moments="reset")
    arguments: dict[str, Any] = {"merging": settings, "epochs": 2, "accumulate_grad_batches": accumulate}
    whole = run("whole", **arguments)
    within = [saved for saved in whole.checkpoints if saved.reason == "before merge" and saved.step == 2]
    within += [saved for saved in whole.checkpoints if saved.reason == "interval" and saved.step == 2]
    assert [saved.merges for saved in within] == [0, 1], "one before the merge, one after it"
    assert len(whole.history) > 2
    for saved in within:
        resumed = run(saved.path.stem, saved, **arguments)
        for what in ("weights", "optimizer", "history", "logged"):
            assert_same(getattr(whole, what), getattr(resumed, what), f"{saved.path.stem}: {what}")
