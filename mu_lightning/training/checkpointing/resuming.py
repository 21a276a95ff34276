"""Resuming interrupted runs: validation, and selection of the checkpoint."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mu_lightning.settings import RunSettings
from mu_lightning.training.checkpointing.run_checkpoints import Saved, last_checkpoint, read_saved
from mu_lightning.training.checkpointing.same_run import check_same_run
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import clear_temporaries

BEGUN = "checkpoints/run.json"  # written first; identifies the run of a folder


def resumes(settings: RunSettings, folder: Path) -> bool:
    """Whether to resume in a folder: requested by the user, or by a SLURM requeue."""
    asked = bool(settings.resume or settings.ckpt_path)
    requeued = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return asked or (requeued and (folder / BEGUN).is_file())


class Resumption:
    """The state of an interrupted run.

    Args:
        folder: the run folder.
        config: full configuration of the run as plain values.
        ckpt_path: checkpoint to resume from, None for the last one.
        verify: whether to verify checkpoint hashes, on one process only.

    Raises:
        UserError: there is no run, it is finished, corrupt, or a different run.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], ckpt_path: str | None, verify: bool = True) -> None:
        self.folder = folder
        self.checkpoints = folder / "checkpoints"
        self.verify = verify
        self.chosen = Path(ckpt_path) if ckpt_path else None
        begun = folder / BEGUN
        self.refuse_finished()
        if begun.is_file():
            facts = json.loads(begun.read_text(encoding="utf-8"))
            check_same_run(config, facts["config"], folder)
        elif self.chosen is None:
            raise UserError(
                f"nothing to resume: there is no run in {folder}; remove --resume to start one, or set --output-dir"
            )
        if self.chosen is not None:
            check_same_run(config, _chosen(self.chosen, verify).config, self.chosen)
        self.last("fit")

    def refuse_finished(self) -> None:
        """Raises UserError if the run is finished."""
        if (self.folder / "results.json").exists():
            raise UserError(f"{self.folder} contains a finished run: nothing to resume")

    def last(self, stage: str) -> Saved | None:
        """Returns the checkpoint of a stage (``fit``, ``references``, ``joint``) to resume from; None for its start."""
        if self.chosen is not None and stage == self._stage_of(self.chosen):
            return _chosen(self.chosen, self.verify)
        return last_checkpoint(self.checkpoints / stage, self.verify)

    def _stage_of(self, path: Path) -> str:
        parent = path.resolve().parent
        return parent.name if parent.parent == self.checkpoints.resolve() else "fit"

    def check_exports(self, exports: Iterable[Path], config: Mapping[str, Any]) -> None:
        """Raises UserError for existing model folders of other runs."""
        for path in exports:
            details = path / "training_details.json"
            if details.is_file():
                check_same_run(config, json.loads(details.read_text(encoding="utf-8"))["config"], path)
            elif path.exists():
                raise UserError(f"{path} exists and was not created by this run: remove it first")

    def clear_leftovers(self, exports: Iterable[Path]) -> None:
        """Removes leftover temporaries in the run folder and next to exports."""
        clear_temporaries(self.folder, exports)


def _chosen(path: Path, verify: bool) -> Saved:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    saved = read_saved(path)
    if saved is None:
        raise UserError(f"the checkpoint {path} has no manifest ({path.stem}.json)")
    if verify and not saved.whole():
        raise UserError(f"the checkpoint {path} is corrupt: its SHA-256 differs from the manifest")
    return saved
