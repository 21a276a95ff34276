"""Checks that the hyperparameters of a resumed run match its checkpoint."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mu_lightning.utilities.errors import UserError

# Settings that cannot affect the result: devices, monitoring, outputs. All others must be the same.
FREE = (
    "resume",
    "ckpt_path",
    "config",
    "output_dir",
    "models_dir",
    "compare",
    "tune",
    "enable_",
    "save_config",
    "checkpoint",
    "guard",
    "data.data_dir",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.plugins",
    "trainer.logger",
    "trainer.profiler",
    "trainer.enable_",
    "trainer.default_root_dir",
    "trainer.log_every_n_steps",
    "trainer.benchmark",
    "trainer.barebones",
)


def check_same_run(config: Mapping[str, Any], recorded: Mapping[str, Any], where: Path) -> None:
    """Raises UserError if a checkpoint belongs to a different run.

    Args:
        config: current configuration as plain values.
        recorded: configuration of the checkpoint.
        where: name of the checkpoint, for the error.

    Raises:
        UserError: the error names every key that differs, with both values.
    """
    now, then = dict(_flat(config)), dict(_flat(recorded))
    differing = [
        f"{key} ({then.get(key)} there, {now.get(key)} now)"
        for key in sorted(now.keys() | then.keys())
        if not key.startswith(FREE) and now.get(key) != then.get(key)
    ]
    if differing:
        raise UserError(
            f"{where} belongs to a run with other settings: {', '.join(differing)}; use the same settings, or start "
            "a new run in another --output-dir"
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from _flat(one, f"{prefix}{key}.")
        elif prefix + key == "model.base":
            yield prefix + key, Path(str(one)).name  # relative paths may differ
        else:
            yield prefix + key, None if one is None or one is False or one in ([], {}) else one
