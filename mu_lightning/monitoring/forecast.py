"""What is to come, in words: the next merge, the time left."""

from collections.abc import Sequence

from mu_lightning.schedules.schedules import Moment, Past, Schedule

# Beyond it the steps of a schedule by steps are not tried one by one.
_STEPS = 20_000


def next_merge(schedule: Schedule, past: Past, done: int, step: int, steps_per_epoch: int, epochs: int | None) -> str:
    """When the schedule will merge next, as far as can be told now.

    A schedule that reads scores may merge earlier than is said.

    Args:
        schedule: the run's.
        past: the scores and merges so far.
        done: epochs that are over.
        step: optimizer steps done.
        steps_per_epoch: optimizer steps in an epoch.
        epochs: epochs of the run; None if it has no such end.
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
    return "no further merge" if not schedule.reads_scores else "next merge as scores say"


def member_names(names: Sequence[str], room: int = 6) -> str:
    """The members by name, or the first and their number where they are many."""
    if len(names) <= room:
        return " ".join(names)
    return f"{' '.join(names[: room - 1])} and {len(names) - room + 1} more"


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> [duration(value) for value in (4.2, 61, 3 * 3600 + 120, 2 * 86400 + 3600)]
    ['4 s', '1 min 1 s', '3 h 2 min', '2 d 1 h']
    """
    whole = round(seconds)
    for size, unit, smaller_size, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller}"
    return f"{whole} s"
