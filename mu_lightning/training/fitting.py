"""Wraps Lightning's fit with interrupt handling."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.cpu import can_stack
from mu_lightning.training.run_plan import RunPlan


def fit(trainer: Trainer, module: LightningModule, ckpt_path: Path | str | None = None, **data: Any) -> None:
    """Trains a module; checkpoints are loaded without unpickling code.

    Args:
        trainer: the trainer.
        module: the module.
        ckpt_path: checkpoint to resume from, or None.
        data: ``datamodule`` or ``train_dataloaders`` of `Trainer.fit`.

    Raises:
        KeyboardInterrupt: Ctrl-C; Lightning would exit as if an error had occurred.
    """
    try:
        trainer.fit(module, ckpt_path=ckpt_path, weights_only=True, **data)
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def stacked(plan: RunPlan, trainer: Trainer) -> bool:
    """Whether members will be computed in parallel, without padding.

    Raises:
        UserError: parallel execution was requested but is not supported.
    """
    return can_stack([IntentClassifier(plan.base)], plan.settings.model, trainer)
