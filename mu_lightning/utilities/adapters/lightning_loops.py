"""Lightning resumes exactly from the end of a step and of an epoch, and from nowhere else.

Callbacks act in the hooks in between. So a checkpoint that is saved in such a hook is written as if it had been saved
just before or after it: the progress of Lightning's loops in it, which has no public form, is moved there.
"""

from typing import Any

from lightning.pytorch import Trainer

Loops = dict[str, Any]


def resume_between_epochs(trainer: Trainer) -> None:
    """Lets a run with ``max_steps`` go on from the end of an epoch, if it was saved there.

    Lightning takes every checkpoint of such a run for one from the middle of an epoch.
    """
    trainer.fit_loop._iteration_based_training = lambda: False  # type: ignore[method-assign]


def as_after_step(loops: Loops, accumulate: int) -> None:
    """Moves a state saved in ``on_train_batch_start`` back to the end of the last optimizer step.

    What gradients a step had gathered over some of its batches is not in a checkpoint: those batches come again.

    Args:
        loops: the checkpoint's ``loops``; changed in place.
        accumulate: batches of one optimizer step.
    """
    fit = loops["fit_loop"]
    progress = fit["epoch_loop.batch_progress"]
    batches = progress["current"]["completed"] // accumulate * accumulate
    back = progress["current"]["completed"] - batches
    for part in ("total", "current"):
        done = progress[part]["completed"] - back
        progress[part] = dict.fromkeys(("ready", "started", "processed", "completed"), done)
    progress["is_last_batch"] = False
    _set_position(fit, batches)


def as_before_epoch_end(loops: Loops, validated: bool) -> None:
    """Moves a state saved in ``on_train_epoch_end`` to before the callbacks' ``on_train_epoch_end``.

    The epoch's batches and its validation are done and do not come again; its end comes.

    Args:
        loops: the checkpoint's ``loops``; changed in place.
        validated: whether the epoch ended with a validation.
    """
    fit = loops["fit_loop"]
    for part in ("total", "current"):
        fit["epoch_progress"][part]["processed"] -= 1
    if validated:
        # Lightning walks once through the end of the last step to skip the validation there, and counts that step.
        fit["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
    _set_position(fit, fit["epoch_loop.batch_progress"]["current"]["completed"])


def _set_position(fit: Loops, batches: int) -> None:
    position = {"epoch": fit["epoch_progress"]["current"]["processed"], "batches": batches}
    fit["state_dict"]["combined_loader"] = [dict(position) for _ in fit["state_dict"].get("combined_loader", [])]
