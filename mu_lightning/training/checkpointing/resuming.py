"""Going on with a run that was interrupted: whether it can, and from which checkpoint."""

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

BEGUN = "checkpoints/run.json"  # written before anything else, so that a folder tells which run was begun in it


def resumes(settings: RunSettings, folder: Path) -> bool:
    """Whether a run is to go on in `folder`: it was asked to, or SLURM started its job again."""
    asked = bool(settings.resume or settings.ckpt_path)
    requeued = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return asked or (requeued and (folder / BEGUN).is_file())


class Resumption:
    """A run's folder as an earlier attempt left it.

    Args:
        folder: the run's folder.
        config: the run's whole configuration as plain values.
        ckpt_path: the checkpoint that the user wants to go on from, None for the last one.
        verify: whether to read the checkpoints and compare their hashes; one process does it for all.

    Raises:
        UserError: there is nothing to go on with, it is finished, damaged, or another run's.
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
                f"nothing to resume: no run was begun in {folder}; leave out --resume to begin one, or name the run's "
                "--output-dir"
            )
        if self.chosen is not None:
            check_same_run(config, _chosen(self.chosen, verify).config, self.chosen)
        self.last("fit")

    def refuse_finished(self) -> None:
        """Raises UserError if the run is finished."""
        if (self.folder / "results.json").exists():
            raise UserError(f"{self.folder} holds a finished run: there is nothing to resume")

    def last(self, stage: str) -> Saved | None:
        """The checkpoint that a stage (``fit``, ``references``, ``joint``) goes on from; None: from its beginning."""
        if self.chosen is not None and stage == self._stage_of(self.chosen):
            return _chosen(self.chosen, self.verify)
        return last_checkpoint(self.checkpoints / stage, self.verify)

    def _stage_of(self, path: Path) -> str:
        parent = path.resolve().parent
        return parent.name if parent.parent == self.checkpoints.resolve() else "fit"

    def check_exports(self, exports: Iterable[Path], config: Mapping[str, Any]) -> None:
        """Refuses model folders that are there already but are not this run's."""
        for path in exports:
            details = path / "training_details.json"
            if details.is_file():
                check_same_run(config, json.loads(details.read_text(encoding="utf-8"))["config"], path)
            elif path.exists():
                raise UserError(f"{path} already holds something that is not this run's: remove it first")

    def clear_leftovers(self, exports: Iterable[Path]) -> None:
        """Removes the unfinished temporaries that a kill left in the run's folder and beside its exports."""
        clear_temporaries(self.folder, exports)


def _chosen(path: Path, verify: bool) -> Saved:
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    saved = read_saved(path)
    if saved is None:
        raise UserError(f"the checkpoint {path} has no manifest beside it ({path.stem}.json): nothing says what it is")
    if verify and not saved.whole():
        raise UserError(f"the checkpoint {path} is damaged: its content is not what its manifest says (SHA-256)")
    return saved
