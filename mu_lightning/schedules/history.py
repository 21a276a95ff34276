"""The history of a run: scores at the end of each epoch, and merges."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from mu_lightning.schedules.schedules import ENSEMBLE
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.records import Record, read_record

HISTORY = "history.json"
MAX_EPOCHS, MAX_STEPS = 5_000, 10_000_000

Count = Annotated[int, Field(ge=0, le=MAX_STEPS)]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]


@dataclass(frozen=True)
class Recorded:
    """The history of a run.

    Attributes:
        targets: targets, the primary target first.
        epochs: scores at the end of each epoch (see `mu_lightning.schedules.schedules.Past`).
        merges: records of the merges.
    """

    targets: tuple[str, ...]
    epochs: tuple[dict[str, Any], ...]
    merges: tuple[dict[str, Any], ...]


class _Epoch(Record):
    epoch: Count
    step: Count
    members: dict[str, Number]
    target: dict[str, Number]
    mean: Number
    drift: Number


class _Outcome(Record):
    gain: Number | None
    after: Number | None


class _Source(Record):
    after: Number | None = None


class _State(Record):
    interval: Count | None = None
    schedules: list["_State"] = Field(default_factory=list)


class _Merge(Record):
    epoch: Count
    step: Count
    committed: bool
    sync: str
    targets: dict[str, _Outcome]
    sources: dict[str, _Source]
    schedule: _State = _State()


class _History(Record):
    targets: Annotated[list[str], Field(min_length=1)]
    epochs: Annotated[list[_Epoch], Field(max_length=MAX_EPOCHS)]
    merges: Annotated[list[_Merge], Field(max_length=MAX_EPOCHS)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        names = set(self.epochs[0].members) if self.epochs else set()
        if any(set(epoch.members) != names or ENSEMBLE not in epoch.target for epoch in self.epochs):
            raise ValueError("the epochs have scores of different members, or none of the ensemble")
        if any(not set(self.targets) <= set(merge.targets) for merge in self.merges):
            raise ValueError("a merge has no outcome for a target")
        for one, other in zip(self.epochs, self.epochs[1:], strict=False):
            if one.epoch >= other.epoch or one.step >= other.step:
                raise ValueError("the epochs are out of order")
        return self


def read_history(path: Path) -> Recorded:
    """Reads ``history.json``, given as a file or as the run folder.

    Raises:
        UserError: the file is missing or invalid, or has no scores of epochs.
    """
    file = path / HISTORY if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no history at {file}: 'fit --target-lang ...' writes {HISTORY} into the run's folder")
    found = read_record(file, _History, "a history").model_dump(exclude_unset=True)
    if not found["epochs"]:
        raise UserError(
            f"{file} has no scores of epochs: the run had --merge.score_epochs false, or did not finish its first epoch"
        )
    return Recorded(tuple(found["targets"]), tuple(found["epochs"]), tuple(found["merges"]))
