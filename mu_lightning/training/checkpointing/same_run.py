"""Whether a run may go on from a checkpoint: the hyper-parameters must be the ones that it was begun with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mu_lightning.utilities.errors import UserError

# Where and how a run is computed, watched and kept, which its result does not hang on. All else must be the same.
FREE = (
    "resume",
    "ckpt_path",
    "config",
    "output_dir",
    "models_dir",
    "compare",
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
    """Refuses to go on from another run's checkpoint.

    Args:
        config: what is asked for now, as plain values.
        recorded: what the checkpoint's run was asked for.
        where: the checkpoint, for the message.

    Raises:
        UserError: names every key that differs, with both values.
    """
    now, then = dict(_flat(config)), dict(_flat(recorded))
    differing = [
        f"{key} ({then.get(key)} there, {now.get(key)} now)"
        for key in sorted(now.keys() | then.keys())
        if not key.startswith(FREE) and now.get(key) != then.get(key)
    ]
    if differing:
        raise UserError(
            f"{where} belongs to a run with other settings: {', '.join(differing)}; go on with the same ones, or start "
            "a new run in another --output-dir"
        )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from _flat(one, f"{prefix}{key}.")
        elif prefix + key == "model.base":
            yield prefix + key, Path(str(one)).name  # a folder may be named from elsewhere
        else:
            yield prefix + key, None if one is None or one is False or one in ([], {}) else one
