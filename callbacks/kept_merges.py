"""KeptMerges: saves the merged models of recent merges and of the best merge in the run folder."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from mu_lightning.utilities.files import set_aside, write_json
from mu_lightning.utilities.listings import remove_listed, unlisted

from .merge import MergeCallback

Save = Callable[[Path, str, Mapping[str, Tensor], Sequence[dict[str, Any]]], None]


class KeptMerges(Callback):
    """Saves the merged model of each kept merge in ``merges/NNNN/`` and removes old ones.

    The last and the best one, by dev accuracy on the primary target, are always kept; see ``merges/kept.json``. With
    several targets there is one folder for each.

    Args:
        merges: the merge callback; this callback must follow it.
        folder: the run folder.
        keep: number of recent models to keep; -1 for all.
        save: saves a model folder, given its path, the target, the state dict and the merges so far.
    """

    def __init__(self, merges: MergeCallback, folder: Path, keep: int, save: Save) -> None:
        self.merges = merges
        self.folder = folder / "merges"
        self.keep = keep
        self.save = save
        self._seen = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A resumed run repeats the merges after its checkpoint.
        committed = self._committed()
        self._seen = len(self.merges.history)
        if committed and not self._path(committed[-1]).is_dir():
            self._write(committed[-1])
        self._prune()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._update()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._update()

    def best(self) -> dict[str, Any] | None:
        """Returns the record of the best merge by dev accuracy on the primary target."""
        after = {record["index"]: record["targets"][self.merges.target]["after"] for record in self._committed()}
        return max(self._committed(), key=lambda record: after[record["index"]], default=None)

    def _committed(self) -> list[dict[str, Any]]:
        """Returns the merges that were kept for the primary target."""
        return [record for record in self.merges.history if record["targets"][self.merges.target]["committed"]]

    def _path(self, record: Mapping[str, Any]) -> Path:
        return self.folder / f"{record['index']:04d}"

    def _update(self) -> None:
        history = self.merges.history
        if len(history) == self._seen:
            return
        new, self._seen = history[self._seen :], len(history)
        # Only the models of the last merge are available; there is at most one new merge.
        if new[-1]["targets"][self.merges.target]["committed"]:
            self._write(new[-1])
        self._prune()

    @rank_zero_only
    def _write(self, record: Mapping[str, Any]) -> None:
        path = self._path(record)
        if not _remove(path):
            print(f"{path} is in the place of a merged model: it now is {set_aside(path)}", flush=True)
        several = len(self.merges.targets) > 1
        for target, found in record["targets"].items():
            if found["committed"]:
                state = self.merges.models[target]
                self.save(path / target if several else path, target, state, self.merges.history[: record["index"]])

    @rank_zero_only
    def _prune(self) -> None:
        committed, best = self._committed(), self.best()
        last = committed if self.keep < 0 else committed[-max(1, self.keep) :]
        kept = {self._path(record).name for record in [*last, *([best] if best else [])]}
        for path in self._folders():
            if path.name not in kept:
                _remove(path)
        if committed and best:
            names = [path.name for path in self._folders()]
            facts = {"target": self.merges.target, "best": self._path(best).name, "last": self._path(last[-1]).name}
            write_json(self.folder / "kept.json", {**facts, "kept": names})

    def _folders(self) -> list[Path]:
        """The folders of merges, in order."""
        return sorted(path for path in self.folder.glob("*") if re.fullmatch("[0-9]{4,}", path.name))


def _remove(path: Path) -> bool:
    """Removes a model folder atomically, by renaming it first, unless it holds files of others; whether it is gone."""
    doomed = path.with_name(f".{path.name}.removed")
    if doomed.is_dir():
        remove_listed(doomed)
    if not os.path.lexists(path):
        return True
    if not path.is_dir() or unlisted(path):
        return False
    path.rename(doomed)
    remove_listed(doomed)
    return True
