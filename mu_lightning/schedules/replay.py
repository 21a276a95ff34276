"""Replays a schedule on the history of a run: when it would have merged, and why."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mu_lightning.schedules.schedules import Moment, Past, Record, Schedule
from mu_lightning.utilities.errors import UserError

HISTORY = "history.json"


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


def read_history(path: Path) -> Recorded:
    """Reads ``history.json``, given as a file or as the run folder.

    Raises:
        UserError: the file is missing or invalid, or has no scores of epochs.
    """
    file = path / HISTORY if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"no history at {file}: 'fit --target-lang ...' writes {HISTORY} into the run's folder")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        recorded = Recorded(tuple(found["targets"]), tuple(found["epochs"]), tuple(found["merges"]))
        steps = [(epoch["epoch"], epoch["step"], epoch["mean"]) for epoch in recorded.epochs]
        steps += [(merge["epoch"], merge["step"], merge["committed"]) for merge in recorded.merges]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not a history ({type(error).__name__}: {error})") from error
    if not recorded.epochs:
        raise UserError(
            f"{file} has no scores of epochs: the run had --merge.score_epochs false, or did not finish its first epoch"
        )
    return recorded


def replay(schedule: Schedule, recorded: Recorded) -> list[dict[str, Any]]:
    """Replays a schedule on recorded scores.

    The scores are those of the run, regardless of its merges. The outcome of a merge is known only if the run merged at
    the same step; else its ``gain`` is None, and an adaptive interval is unchanged.

    Args:
        schedule: any schedule.
        recorded: history of the run.

    Returns:
        One record per merge: ``index``, ``epoch``, ``step``, ``reason``, ``committed``, ``sync``, ``targets``,
        ``sources``, ``recorded`` (whether the run merged at this step) and ``schedule`` (state of the schedule).
    """
    made = {merge["step"]: merge for merge in recorded.merges}
    merges: list[dict[str, Any]] = []

    def ask(now: Moment, epochs: Sequence[Record]) -> None:
        reason = schedule.due(now, Past(epochs, merges))
        if reason is None:
            return
        there = made.get(now.step)
        unknown: dict[str, Any] = {
            "committed": True,
            "sync": recorded.merges[0]["sync"] if recorded.merges else "replace",
            "targets": {target: {"gain": None, "after": None} for target in recorded.targets},
            "sources": {},
        }
        outcome = {key: there[key] for key in unknown} if there else unknown
        place = {"index": len(merges) + 1, "epoch": now.epoch, "step": now.step, "reason": reason}
        record = {**place, **outcome, "recorded": there is not None}
        record["schedule"] = schedule.state(Past(epochs, [*merges, record]))
        merges.append(record)

    done = 0
    for place, epoch in enumerate(recorded.epochs):
        if schedule.by_step:
            for step in range(done + 1, epoch["step"]):
                ask(Moment(epoch["epoch"], step, epoch_end=False), recorded.epochs[:place])
        done = epoch["step"]
        last = place + 1 == len(recorded.epochs)
        ask(Moment(epoch["epoch"], epoch["step"], epoch_end=True, last=last), recorded.epochs[: place + 1])
    return merges


def table_rows(merges: Sequence[Record], target: str) -> list[tuple[str, ...]]:
    """Returns one row per merge: index, epoch, step, outcome in the run, reason."""
    rows: list[tuple[str, ...]] = []
    for merge in merges:
        gain = merge["targets"][target]["gain"]
        outcome = "-" if gain is None else f"{gain:+.4f}" + ("" if merge["committed"] else " rolled back")
        rows.append((str(merge["index"]), str(merge["epoch"]), str(merge["step"]), outcome, merge["reason"]))
    return rows
