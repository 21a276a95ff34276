"""Resuming interrupted runs: validation, and selection of the checkpoint."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mu_lightning.merging.folders.model_folders import open_folder
from mu_lightning.results.model_records import DETAILS, Configured
from mu_lightning.settings import RunSettings
from mu_lightning.training.checkpointing.run_checkpoints import Saved, clear_orphans, last_checkpoint, read_saved
from mu_lightning.training.checkpointing.same_run import check_same_run
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import clear_temporaries, is_empty
from mu_lightning.utilities.records import read_record

BEGUN = "checkpoints/run.json"  # written first; identifies the run of a folder
CHECKPOINTS = "checkpoints/fit"


def resumes(settings: RunSettings, folder: Path) -> bool:
    """Whether to resume in a folder: requested by the user, or by a SLURM requeue."""
    asked = bool(settings.resume or settings.ckpt_path)
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0").strip() not in ("", "0")
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
        self.checkpoints = folder / CHECKPOINTS
        self.verify = verify
        self.chosen = Path(ckpt_path) if ckpt_path else None
        begun = folder / BEGUN
        self.refuse_finished()
        if begun.is_file():
            check_same_run(config, read_record(begun, Configured, "the record of a run").config, folder)
        elif self.chosen is None:
            raise UserError(
                f"nothing to resume: there is no run in {folder}; remove --resume to start one, or set --output-dir"
            )
        if self.chosen is not None:
            check_same_run(config, _chosen(self.chosen, verify).config, self.chosen)
        self.last()

    def refuse_finished(self) -> None:
        """Raises UserError if the run is finished."""
        if (self.folder / "results.json").exists():
            raise UserError(f"{self.folder} contains a finished run: nothing to resume")

    def last(self) -> Saved | None:
        """Returns the checkpoint to resume from; None for the start of the run."""
        if self.chosen is not None:
            return _chosen(self.chosen, self.verify)
        return last_checkpoint(self.checkpoints, self.verify)

    def check_exports(self, exports: Iterable[Path], config: Mapping[str, Any]) -> None:
        """Raises UserError for existing model folders of other runs."""
        for path in exports:
            details = path / DETAILS
            if is_empty(path):
                continue
            if not details.is_file():
                raise UserError(f"{path} exists and was not created by this run: remove it first")
            check_same_run(config, read_record(details, Configured, "the record of a training").config, path)
            open_folder(path)

    def clear_leftovers(self, exports: Iterable[Path]) -> None:
        """Removes what kills left in the run folder and next to exports: temporaries, manifests without checkpoint."""
        clear_temporaries(self.folder, exports)
        clear_orphans(self.checkpoints)


def _chosen(path: Path, verify: bool) -> Saved:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    saved = read_saved(path)
    if saved is None:
        raise UserError(f"the checkpoint {path} has no manifest ({path.stem}.json)")
    if verify and not saved.whole():
        raise UserError(f"the checkpoint {path} is corrupt: its SHA-256 differs from the manifest")
    return saved
