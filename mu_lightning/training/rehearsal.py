"""A rehearsal of a run: Lightning's ``fast_dev_run`` for everything that the command `fit` does."""

from dataclasses import replace
from pathlib import Path

from mu_lightning.settings import RunSettings


def rehearsed(settings: RunSettings) -> int:
    """The number of batches of a rehearsal; 0 for an ordinary run."""
    return int(settings.trainer.get("fast_dev_run") or 0)


def rehearsal(settings: RunSettings, folder: Path) -> RunSettings:
    """Returns the settings of the same run with a few batches, one epoch and its outputs in another folder.

    Args:
        settings: settings with ``fast_dev_run``.
        folder: an empty folder, to be removed afterwards.
    """
    batches = rehearsed(settings)
    trainer = {
        **settings.trainer,
        "fast_dev_run": False,
        "max_epochs": 1,
        "max_steps": -1,
        "min_epochs": None,
        "min_steps": None,
        "limit_train_batches": batches,
        "limit_val_batches": batches,
        "overfit_batches": 0.0,
        "val_check_interval": None,
        "check_val_every_n_epoch": 1,
        "num_sanity_val_steps": 0,
        "log_every_n_steps": 1,
    }
    return replace(
        settings,
        trainer=trainer,  # type: ignore[arg-type]
        output_dir=folder / "run",
        models_dir=folder / "models",
        resume=False,
        ckpt_path=None,
        skip_existing=False,
        enable_tensorboard=False,
        enable_wandb=False,
    )
