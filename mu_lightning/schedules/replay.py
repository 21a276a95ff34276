"""Replays a schedule on the history of a run: when it would have merged, and why."""

from collections.abc import Sequence
from typing import Any

from mu_lightning.schedules.history import Recorded
from mu_lightning.schedules.schedules import Moment, Past, Record, Schedule


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
