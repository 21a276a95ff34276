"""Arguments of Lightning's Trainer as plain values."""

from collections.abc import Mapping
from typing import Any, TypedDict, cast

from mu_lightning.utilities.errors import unknown


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


def trainer_arguments(given: Mapping[str, Any]) -> TrainerArguments:
    """Adds our defaults to the given arguments; raises UserError for unknown ones."""
    for name in given:
        if name not in TrainerArguments.__annotations__:
            raise unknown("argument of Lightning's Trainer", name, TrainerArguments.__annotations__)
    return cast(TrainerArguments, {**TRAINER_DEFAULTS, **given})
