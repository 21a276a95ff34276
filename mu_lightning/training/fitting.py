"""Lightning's fit, with an interruption that stays an interruption; and how it will compute, told before."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.cpu import can_stack
from mu_lightning.training.run_plan import RunPlan


def fit(trainer: Trainer, module: LightningModule, ckpt_path: Path | str | None = None, **data: Any) -> None:
    """Fits; a checkpoint to go on from is read without unpickling code.

    Args:
        trainer: what fits.
        module: what is trained.
        ckpt_path: the checkpoint to go on from, None to start afresh.
        data: ``datamodule`` or ``train_dataloaders``, as `Trainer.fit` takes them.

    Raises:
        KeyboardInterrupt: Ctrl-C. Lightning shuts down in order, but then exits as if something had failed.
    """
    try:
        trainer.fit(module, ckpt_path=ckpt_path, weights_only=True, **data)
    except SystemExit:
        if trainer.interrupted:
            raise KeyboardInterrupt from None
        raise


def stacked(plan: RunPlan, trainer: Trainer) -> bool:
    """Whether members will be computed in one pass, without padding.

    Raises:
        UserError: that was asked for, and cannot be.
    """
    return can_stack([IntentClassifier(plan.base)], plan.settings.model, trainer)
