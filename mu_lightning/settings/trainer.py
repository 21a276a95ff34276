"""Arguments of Lightning's Trainer as plain values."""

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from mu_lightning.settings.bounds import check_settings
from mu_lightning.utilities.errors import UserError, shown, unknown


class TrainerArguments(TypedDict, total=False):
    """Arguments of Lightning's Trainer.

    Loggers, callbacks, strategies, plugins and profilers are mappings with ``class_path`` and ``init_args``, as in
    configuration files, or objects, which are copied for each training.
    """

    accelerator: Any
    strategy: Any
    devices: list[int] | str | int
    num_nodes: int
    precision: Any
    logger: Any
    callbacks: Any
    fast_dev_run: int | bool
    max_epochs: int | None
    min_epochs: int | None
    max_steps: int
    min_steps: int | None
    max_time: Any
    limit_train_batches: int | float | None
    limit_val_batches: int | float | None
    limit_test_batches: int | float | None
    limit_predict_batches: int | float | None
    overfit_batches: int | float
    val_check_interval: Any
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int | None
    log_every_n_steps: int | None
    enable_checkpointing: bool | None
    enable_progress_bar: bool | None
    enable_model_summary: bool | None
    accumulate_grad_batches: int
    gradient_clip_val: int | float | None
    gradient_clip_algorithm: str | None
    deterministic: Any
    benchmark: bool | None
    inference_mode: bool
    use_distributed_sampler: bool
    profiler: Any
    detect_anomaly: bool
    barebones: bool
    plugins: Any
    sync_batchnorm: bool
    reload_dataloaders_every_n_epochs: int
    default_root_dir: Any
    enable_autolog_hparams: bool
    model_registry: str | None


TRAINER_DEFAULTS: TrainerArguments = {
    "max_epochs": 6,
    "accelerator": "auto",
    "devices": 1,
    "precision": "32-true",
    "gradient_clip_val": 1.0,
    "log_every_n_steps": 10,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


# Arguments of the Trainer that a run does not support: name -> accepted values, and what to do instead.
UNSUPPORTED: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "default_root_dir": ((None,), "use --output-dir"),
    "enable_checkpointing": (
        (None, True),
        "runs are saved for --resume; --checkpoint.every_n_epochs 0 saves them at the start and the end only",
    ),
    "barebones": ((None, False), "runs have checkpoints, logs and callbacks"),
    "model_registry": ((None,), "models are saved as folders in Hugging Face format"),
    "use_distributed_sampler": ((None, False), "runs distribute their rows themselves"),
    "limit_test_batches": ((None, 1.0), "results are of all rows; see limit_val_batches for dev rows while training"),
    "limit_predict_batches": ((None, 1.0), "results are of all rows"),
}
# The same for `validate` and `test`, which use the Trainer for evaluation only.
UNSUPPORTED_IN_EVALUATION: Mapping[str, tuple[tuple[Any, ...], str]] = {
    "fast_dev_run": ((None, False, 0), "results are of all rows"),
    "overfit_batches": ((None, 0, 0.0), "results are of all rows"),
    "limit_val_batches": ((None, 1.0), "results are of all rows"),
    "limit_test_batches": ((None, 1.0), "results are of all rows"),
    "barebones": ((None, False), "results need a logger and callbacks"),
    "use_distributed_sampler": ((None, False), "rows are distributed without it"),
    "model_registry": ((None,), "nothing is saved"),
}


def refuse_unsupported(given: Mapping[str, Any], unsupported: Mapping[str, tuple[tuple[Any, ...], str]]) -> None:
    """Raises UserError for arguments of the Trainer that have no effect or would change results.

    Args:
        given: arguments of the Trainer.
        unsupported: name -> accepted values, and what to do instead.
    """
    for name, (accepted, advice) in unsupported.items():
        value = given.get(name)
        # 1 is a batch and 1.0 are all of them
        if not any(type(value) is type(one) and value == one for one in accepted):
            raise UserError(f"trainer.{name} is {shown(value)}, which is not supported: {advice}")


def trainer_arguments(given: Mapping[str, Any]) -> TrainerArguments:
    """Adds our defaults to the given arguments; raises UserError for unknown ones and numbers out of bounds."""
    for name in given:
        if name not in TrainerArguments.__annotations__:
            raise unknown("argument of Lightning's Trainer", name, TrainerArguments.__annotations__)
    check_settings(given, "trainer")
    refuse_unsupported(given, UNSUPPORTED)
    found = {**TRAINER_DEFAULTS, **given}
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if found.get(name) == 0:
            raise UserError(f"trainer.{name} is 0: expected more, as nothing would be trained")
    if found.get("max_epochs") == -1 and found.get("max_steps", -1) == -1 and found.get("max_time") is None:
        raise UserError("trainer.max_epochs is -1 (no limit): give trainer.max_steps or trainer.max_time too")
    return cast(TrainerArguments, found)
