"""Text about the next merge and the remaining time."""

from collections.abc import Sequence

from mu_lightning.schedules.schedules import Moment, Past, Schedule

# Maximum number of steps to try for schedules by steps.
_STEPS = 20_000


def next_merge(schedule: Schedule, past: Past, done: int, step: int, steps_per_epoch: int, epochs: int | None) -> str:
    """Predicts the next merge of a schedule.

    Schedules that use scores may merge earlier.

    Args:
        schedule: schedule of the run.
        past: history of the run.
        done: number of finished epochs.
        step: number of optimizer steps.
        steps_per_epoch: optimizer steps per epoch.
        epochs: number of epochs of the run; None for no limit.
    """
    earlier = " at the latest" if schedule.reads_scores else ""
    last = epochs if epochs is not None else done + 100
    if schedule.by_step:
        for number in range(step + 1, min(last * steps_per_epoch, step + _STEPS) + 1):
            epoch_end = number % steps_per_epoch == 0
            moment = Moment(
                -(-number // steps_per_epoch), number, epoch_end, last=epoch_end and number == last * steps_per_epoch
            )
            if schedule.due(moment, past) is not None:
                return f"next merge after step {number}{earlier}"
    else:
        for epoch in range(done + 1, last + 1):
            moment = Moment(epoch, step + (epoch - done) * steps_per_epoch, last=epoch == epochs)
            if schedule.due(moment, past) is not None:
                return f"next merge after epoch {epoch}{earlier}"
    return "no further merge" if not schedule.reads_scores else "next merge depends on scores"


def member_names(names: Sequence[str], room: int = 6) -> str:
    """Names of the members, shortened if there are many."""
    if len(names) <= room:
        return " ".join(names)
    return f"{' '.join(names[: room - 1])} and {len(names) - room + 1} more"


def duration(seconds: float) -> str:
    """Formats a duration.

    >>> [duration(value) for value in (4.2, 61, 3 * 3600 + 120, 2 * 86400 + 3600)]
    ['4 s', '1 min 1 s', '3 h 2 min', '2 d 1 h']
    """
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
