"""Manifest: records the configuration of a run before it starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from mu_lightning.results.provenance import data_fingerprints, versions
from mu_lightning.utilities.files import write_json


class Manifest(Callback):
    """Writes ``manifest.json`` to the run folder: configuration, versions, seed and data fingerprints.

    Args:
        folder: the run folder.
        config: the full configuration as plain values.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = dict(config)

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        learned = {locale for locales in data.members.values() for locale in locales}
        write_json(
            self.folder / "manifest.json",
            {
                "config": self.config,
                "versions": versions(),
                "seed": data.seed,
                "members": {name: list(locales) for name, locales in data.members.items()},
                "fingerprints": data_fingerprints(data, sorted(learned), ("train", "dev")),
                "devices": {"kind": trainer.strategy.root_device.type, "processes": trainer.world_size},
            },
        )
