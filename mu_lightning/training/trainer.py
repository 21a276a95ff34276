"""Builds and validates the arguments of Lightning's Trainer."""

import copy
from argparse import ArgumentError
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.plugins import CheckpointIO

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
    overfit = built.pop("overfit_batches", None)
    if overfit:  # Lightning would replace our samplers; see `RunPlan.data` for the order of the rows
        built |= {"limit_train_batches": overfit, "limit_val_batches": overfit}
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
    # RuntimeError: Lightning refuses some allocations of SLURM
    except (MisconfigurationException, ValueError, TypeError, ImportError, RuntimeError) as error:
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
    plugins = built.get("plugins") or []
    plugins = plugins if isinstance(plugins, list | tuple) else [plugins]
    given = any(isinstance(one, CheckpointIO) for one in plugins)
    if given and settings.callbacks.get("checkpoint_io", "") is not None:
        raise UserError("trainer.plugins: a run has its own CheckpointIO: add --callbacks {checkpoint_io: null}")
    if trainer.get("fast_dev_run"):
        raise UserError("trainer.fast_dev_run: plan the settings of mu_lightning.training.rehearsal.rehearsal instead")


def check_limits(trainer: Trainer, batches: Mapping[str, int], dev_batches: Mapping[str, int]) -> None:
    """Checks the Trainer's limits against the data, as Lightning does once a training has begun.

    Args:
        trainer: a trainer with the run's arguments.
        batches: member -> train batches of an epoch.
        dev_batches: locale -> batches of its dev rows.

    Raises:
        UserError: a share that is less than one batch, or a validation after more batches than there are.
    """
    for name, limit, counts in (
        ("limit_train_batches", trainer.limit_train_batches, {"the run": max(batches.values())}),
        ("limit_val_batches", trainer.limit_val_batches, dev_batches),
    ):
        for what, count in counts.items():
            if isinstance(limit, float) and limit and count and int(count * limit) < 1:
                raise UserError(f"trainer.{name} is {limit}: that is no batch of the {count} of {what}")
    longest = max(batches.values())
    most = trainer.limit_train_batches
    longest = min(longest, most) if isinstance(most, int) else int(longest * most)
    interval = trainer.val_check_interval
    if isinstance(interval, int) and trainer.check_val_every_n_epoch is not None and interval > longest:
        raise UserError(
            f"trainer.val_check_interval is {interval}, but an epoch has {longest} batches: give at most that, or "
            "--trainer.check_val_every_n_epoch null to count over epochs"
        )


def _names_class(value: Any) -> bool:
    if isinstance(value, Mapping):
        return CLASS_PATH in value
    return isinstance(value, list | tuple) and any(map(_names_class, value))
