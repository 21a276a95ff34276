"""Builds and validates the arguments of Lightning's Trainer."""

import copy
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from mu_lightning.settings import RunSettings, TrainerArguments
from mu_lightning.training.distributed import strategy_for
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.precision import check_precision, settled_precision

CLASS_PATH = "class_path"


def built_arguments(arguments: TrainerArguments) -> dict[str, Any]:
    """Instantiates class paths in the Trainer's arguments; callbacks are new objects for each training.

    Args:
        arguments: see `RunSettings.trainer`.

    Raises:
        argparse.ArgumentError, TypeError: an invalid class path or invalid arguments.
    """
    built: dict[str, Any] = dict(arguments)
    named = {name: value for name, value in built.items() if _names_class(value)}
    if named:
        parser = LightningArgumentParser(exit_on_error=False)
        parser.add_lightning_class_args(Trainer, "trainer")
        # Copied, because parsing modifies its input.
        objects = parser.instantiate(parser.parse_object({"trainer": copy.deepcopy(named)})).trainer
        built |= {name: objects[name] for name in named}
    callbacks = built.get("callbacks") or []
    given = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
    built["callbacks"] = copy.deepcopy(given)
    return built


def bare_trainer(arguments: TrainerArguments) -> Trainer:
    """Creates a Trainer with the devices, precision and limits of a run, without outputs.

    Args:
        arguments: arguments of the run's Trainer.
    """
    built = built_arguments(arguments) | {"logger": False, "callbacks": None}
    strategy = strategy_for(built.get("strategy") or "auto", built.get("devices", 1), built.get("num_nodes", 1))
    return Trainer(**{**built, "strategy": strategy})


def with_settled_precision(settings: RunSettings) -> RunSettings:
    """Resolves the precision ``auto`` in the settings, so that the actual precision is recorded."""
    if settings.trainer.get("precision") != "auto":
        return settings
    precision, _ = settled_precision(settings.trainer.get("accelerator"))
    return replace(settings, trainer={**settings.trainer, "precision": precision})


def check_arguments(arguments: Mapping[str, Any]) -> None:
    """Raises UserError for arguments that Lightning would reject later."""
    try:
        Trainer(**{**arguments, "logger": False, "callbacks": None, "enable_checkpointing": False})
    except (MisconfigurationException, ValueError, TypeError, ImportError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error


def check_trainer(settings: RunSettings) -> None:
    """Validates the Trainer's arguments.

    Raises:
        UserError: invalid, out-of-range or contradicting arguments.
    """
    trainer, model = settings.trainer, settings.model
    check_precision(trainer.get("precision"), model.moments_dtype)
    strategy_for(trainer.get("strategy") or "auto", trainer.get("devices", 1), trainer.get("num_nodes", 1))
    if model.patience is not None and trainer.get("limit_val_batches") == 0:
        raise UserError(f"--model.patience {model.patience}: expected dev evaluation, but limit_val_batches is 0")
    cut = [name for name in ("limit_train_batches", "overfit_batches", "fast_dev_run") if trainer.get(name)]
    if model.members_in_memory and cut:
        raise UserError(f"--trainer.{cut[0]} is not supported with --members-in-memory: use --data.limit_train")
    try:
        built = built_arguments(trainer)
    except (ArgumentError, ImportError, TypeError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    check_arguments(built)


def _names_class(value: Any) -> bool:
    if isinstance(value, Mapping):
        return CLASS_PATH in value
    return isinstance(value, list | tuple) and any(map(_names_class, value))
