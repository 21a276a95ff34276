"""The progress of Lightning's loops still has the form that checkpoints are moved in."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from mu_lightning.utilities.adapters.lightning_loops import as_after_step, as_before_epoch_end, resume_between_epochs

CHANGED = "Lightning's loops keep their progress in another form now: mend adapters/lightning_loops.py"


def saved(joint: Any, data_module: Any, trainer: Any, hook: str) -> dict[str, Any]:
    """The loops' progress in a checkpoint of `hook` in the second of two epochs of three batches."""
    found: list[dict[str, Any]] = []

    class Saving(Callback):
        def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, batch_idx: int) -> None:
            self._save(trainer, "on_train_batch_start", batch_idx == 2)

        def on_train_epoch_end(self, trainer: Trainer, module: Any) -> None:
            self._save(trainer, "on_train_epoch_end", True)

        def _save(self, trainer: Trainer, name: str, wanted: bool) -> None:
            if name == hook and wanted and trainer.current_epoch == 1:
                found.append(loops(trainer))

    trainer(2, Saving(), limit_val_batches=1.0).fit(joint(["nl-NL"]), datamodule=data_module(["nl-NL"]))
    return found[0]


def loops(trainer: Trainer) -> dict[str, Any]:
    path = Path(trainer.default_root_dir) / "saved.ckpt"
    trainer.save_checkpoint(path)
    state: dict[str, Any] = torch.load(path, weights_only=True)["loops"]
    return state


def test_a_checkpoint_within_an_epoch_is_moved_to_the_end_of_the_last_step(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    state = saved(joint, data_module, trainer, "on_train_batch_start")
    progress = state["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["current"] == {"ready": 3, "started": 2, "processed": 2, "completed": 2}, CHANGED
    as_after_step(state, accumulate=1)
    assert progress["current"] == dict.fromkeys(("ready", "started", "processed", "completed"), 2)
    assert progress["total"] == dict.fromkeys(("ready", "started", "processed", "completed"), 5)
    assert state["fit_loop"]["state_dict"]["combined_loader"] == [{"epoch": 1, "batches": 2}], CHANGED


def test_a_checkpoint_at_an_epochs_end_is_moved_to_before_it(joint: Any, data_module: Any, trainer: Any) -> None:
    state = saved(joint, data_module, trainer, "on_train_epoch_end")
    fit = state["fit_loop"]
    assert fit["epoch_progress"]["current"]["processed"] == 2, CHANGED
    assert fit["epoch_loop.state_dict"]["_batches_that_stepped"] == 6, CHANGED
    as_before_epoch_end(state, validated=True)
    assert fit["epoch_progress"]["current"]["processed"] == 1
    assert fit["epoch_loop.state_dict"]["_batches_that_stepped"] == 5
    assert fit["state_dict"]["combined_loader"] == [{"epoch": 1, "batches": 3}], CHANGED


@pytest.mark.parametrize(("between", "restarting"), [(False, True), (True, False)])
def test_a_run_with_a_number_of_steps_goes_on_from_the_end_of_an_epoch(
    trainer: Any, between: bool, restarting: bool
) -> None:
    fitting = trainer(None, max_steps=4)
    if between:
        resume_between_epochs(fitting)
    fitting.fit_loop.restarting = True
    # Without the adapter Lightning takes it for the middle of an epoch: once it does not, the adapter can go.
    assert fitting.fit_loop.restarting is restarting, CHANGED
