"""Merge schedules: pure functions of the history of a run, independent of Lightning.

A schedule is a dataclass of typed parameters without state: its decisions depend on the scores of epochs and the
records of merges, which are part of every checkpoint. Decisions are therefore the same after resuming and in a replay.
To add a schedule, add a class and a line in `SCHEDULES`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.parameters import option, read_parameters

Record = Mapping[str, Any]
ENSEMBLE = "ensemble"
END = "end of training"


@dataclass(frozen=True)
class Moment:
    """A point in training at which a schedule is queried.

    Attributes:
        epoch: current epoch, from 1.
        step: number of optimizer steps.
        epoch_end: whether this is the end of an epoch; else it is after an optimizer step.
        last: whether this is the end of training.
    """

    epoch: int
    step: int
    epoch_end: bool = True
    last: bool = False


@dataclass(frozen=True)
class Past:
    """The history of a run, including the scores of the current moment.

    Attributes:
        epochs: scores at the end of each epoch, before a merge: ``epoch``, ``step``, ``members`` (member -> accuracy
            on its dev split), ``target`` (member and ``ensemble`` -> accuracy on the target's dev split),
            ``mean`` (mean accuracy of the members on the target), ``drift`` (mean distance between members).
        merges: records of the merges (see docs/iterative.md).
    """

    epochs: Sequence[Record] = ()
    merges: Sequence[Record] = ()


@dataclass(frozen=True)
class Schedule(ABC):
    """Base class of merge schedules.

    Attributes:
        name: name in configurations.
        by_step: whether it is queried after each optimizer step.
        reads_scores: whether it uses the scores of epochs.
        reads_target: whether it uses dev labels of the target.
        at_end: whether it merges at the end of training.
    """

    name: ClassVar[str]
    by_step: ClassVar[bool] = False
    reads_scores: ClassVar[bool] = False
    reads_target: ClassVar[bool] = False
    at_end: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = {field.name: getattr(self, field.name) for field in fields(self) if "kind" in field.metadata}
        for name, value in read_parameters(self.name, type(self), given).items():
            object.__setattr__(self, name, value)

    def due(self, now: Moment, past: Past) -> str | None:
        """Returns the reason to merge now, or None; never twice at the same step."""
        if past.merges and past.merges[-1]["step"] == now.step:
            return None
        return self.reason(now, past) or (END if now.last and self.at_end else None)

    @abstractmethod
    def reason(self, now: Moment, past: Past) -> str | None:
        """Returns the reason to merge now, without the merge at the end."""

    def plain(self) -> dict[str, Any]:
        """Name and parameters, as a configuration has them."""
        return {"name": self.name, **{field.name: getattr(self, field.name) for field in fields(self)}}

    def describe(self) -> str:
        """The schedule in a few words, with the parameters that are not the defaults."""
        changed = [field for field in fields(self) if getattr(self, field.name) != field.default]
        more = " ".join(f"{field.name.replace('_', ' ')} {getattr(self, field.name)}" for field in changed)
        return f"{self.name} ({more})" if more else self.name

    def state(self, past: Past) -> dict[str, Any]:
        """Returns name, parameters and current state of the schedule as plain values."""
        return self.plain()


@dataclass(frozen=True)
class EveryEpochs(Schedule):
    """Merges every `n` epochs and at the end of training; 0 for the end only."""

    name: ClassVar[str] = "every-epochs"
    n: int = option(1, "epochs between merges; 0: merge at the end only", low=0)

    def reason(self, now: Moment, past: Past) -> str | None:
        if not (now.epoch_end and self.n and now.epoch % self.n == 0):
            return None
        return self.describe()

    def describe(self) -> str:
        return {0: "at the end", 1: "every epoch"}.get(self.n, f"every {self.n} epochs")


@dataclass(frozen=True)
class EverySteps(Schedule):
    """Merges every `n` optimizer steps, also within epochs, and at the end of training."""

    name: ClassVar[str] = "every-steps"
    by_step: ClassVar[bool] = True
    n: int = option(100, "optimizer steps between merges", low=1)

    def reason(self, now: Moment, past: Past) -> str | None:
        if now.step == 0 or now.step % self.n:
            return None
        return self.describe()

    def describe(self) -> str:
        return f"every {self.n} steps" if self.n > 1 else "every step"


@dataclass(frozen=True)
class AtEnd(Schedule):
    """Merges once, at the end of training."""

    name: ClassVar[str] = "at-end"

    def describe(self) -> str:
        return "at the end"

    def reason(self, now: Moment, past: Past) -> str | None:
        return None


@dataclass(frozen=True)
class Never(Schedule):
    """Never merges."""

    name: ClassVar[str] = "never"
    at_end: ClassVar[bool] = False

    def reason(self, now: Moment, past: Past) -> str | None:
        return None


@dataclass(frozen=True)
class OnPlateau(Schedule):
    """Merges when the mean of the last two gains on the target's dev split is below a threshold."""

    name: ClassVar[str] = "plateau"
    reads_scores: ClassVar[bool] = True
    reads_target: ClassVar[bool] = True
    convergence_threshold: float = option(1e-4, "threshold for the mean of the last two gains")

    def reason(self, now: Moment, past: Past) -> str | None:
        values = since_merge(past, lambda epoch: epoch["mean"], lambda merge: _primary(merge)["after"])
        if not now.epoch_end or len(values) < 3:
            return None
        gain = (values[-1] - values[-3]) / 2
        if gain >= self.convergence_threshold:
            return None
        return f"plateau: mean of the last two gains {gain:+.4f}, below {self.convergence_threshold:g}"


@dataclass(frozen=True)
class PerformanceTriggered(Schedule):
    """Merges when members or the ensemble stop improving on dev splits, or members drift apart."""

    name: ClassVar[str] = "performance"
    reads_scores: ClassVar[bool] = True
    watch: str = option("any", "score to monitor", choices=("any", "members", "ensemble", "nobody"))
    patience: int = option(2, "epochs without improvement", low=1)
    convergence_threshold: float = option(1e-4, "minimum gain in accuracy that counts as an improvement", low=0)
    max_drift: float | None = option(
        None, "maximum mean distance of the members' task vectors, relative to their norm", low=0, kind=float
    )

    @property
    def reads_target(self) -> bool:  # type: ignore[override]
        return self.watch in ("any", "ensemble")

    def reason(self, now: Moment, past: Past) -> str | None:
        if not now.epoch_end or not past.epochs:
            return None
        latest = past.epochs[-1]
        if self.max_drift is not None and latest["drift"] > self.max_drift:
            return f"members drifted apart: mean distance {latest['drift']:.3f}, above {self.max_drift:g}"
        if self.watch in ("any", "members"):
            for name in latest["members"]:
                values = since_merge(past, lambda epoch: epoch["members"][name], lambda merge: _own(merge, name))  # noqa: B023
                if self._stopped(values):
                    return f"{name} stopped improving: {self._said(values)}"
        if self.watch in ("any", "ensemble"):
            values = since_merge(past, lambda epoch: epoch["target"][ENSEMBLE], lambda merge: _primary(merge)["after"])
            if self._stopped(values):
                return f"the ensemble stopped improving: {self._said(values)}"
        return None

    def _stopped(self, values: Sequence[float]) -> bool:
        earlier, recent = values[: -self.patience], values[-self.patience :]
        return bool(earlier) and max(recent) < max(earlier) + self.convergence_threshold

    def _said(self, values: Sequence[float]) -> str:
        earlier, recent = max(values[: -self.patience]), max(values[-self.patience :])
        epochs = "epoch" if self.patience == 1 else f"{self.patience} epochs"
        return f"at most {recent:.4f} in the last {epochs}, {earlier:.4f} before"


@dataclass(frozen=True)
class Adaptive(Schedule):
    """Merges at an adaptive interval: shorter after gains, longer after losses, rollbacks or no change."""

    name: ClassVar[str] = "adaptive"
    reads_target: ClassVar[bool] = True
    start: int = option(3, "epochs until the first merge", low=1, high=10)
    shortest: int = option(1, "minimum epochs between merges", low=1, high=10)
    longest: int = option(10, "maximum epochs between merges", low=1, high=10)
    convergence_threshold: float = option(1e-4, "accuracy changes up to this count as no change", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortest > self.longest:
            raise UserError(f"adaptive's shortest interval, {self.shortest}, is above its longest, {self.longest}")

    def reason(self, now: Moment, past: Past) -> str | None:
        interval, why = self.interval(past)
        if not now.epoch_end or now.epoch - (past.merges[-1]["epoch"] if past.merges else 0) < interval:
            return None
        return f"every {f'{interval} epochs' if interval > 1 else 'epoch'} at present ({why})"

    def interval(self, past: Past) -> tuple[int, str]:
        """Returns the current interval in epochs, and the reason."""
        *_, (interval, why) = self.decisions(past)
        return interval, why

    def decisions(self, past: Past) -> Iterator[tuple[int, str]]:
        """Returns the interval at the start and after each merge, with reasons."""
        interval = min(max(self.start, self.shortest), self.longest)
        yield interval, "as configured"
        for merge in past.merges:
            by, why = self._verdict(merge)
            changed = min(max(interval + by, self.shortest), self.longest)
            how = f"{interval} -> {changed}" if changed != interval else f"still {interval}"
            interval = changed
            yield interval, f"merge {merge['index']} {why}: {how}"

    def state(self, past: Past) -> dict[str, Any]:
        interval, why = self.interval(past)
        return super().state(past) | {"interval": interval, "why": why}

    def _verdict(self, merge: Record) -> tuple[int, str]:
        gain = _primary(merge)["gain"]
        if gain is None:
            return 0, "has no recorded outcome"
        if not merge["committed"]:
            return 1, f"was rolled back ({gain:+.4f})"
        if abs(gain) <= self.convergence_threshold:
            return 1, f"changed nothing ({gain:+.4f})"
        return (-1, f"gained {gain:.4f}") if gain > 0 else (1, f"lost {-gain:.4f}")


@dataclass(frozen=True)
class AnyOf(Schedule):
    """Merges when any of several schedules does; the first one gives the reason."""

    name: ClassVar[str] = "any-of"
    schedules: tuple[Schedule, ...] = ()

    def __post_init__(self) -> None:
        if not self.schedules:
            raise UserError("any-of needs at least one schedule")

    @property
    def by_step(self) -> bool:  # type: ignore[override]
        return any(schedule.by_step for schedule in self.schedules)

    @property
    def reads_scores(self) -> bool:  # type: ignore[override]
        return any(schedule.reads_scores for schedule in self.schedules)

    @property
    def reads_target(self) -> bool:  # type: ignore[override]
        return any(schedule.reads_target for schedule in self.schedules)

    @property
    def at_end(self) -> bool:  # type: ignore[override]
        return any(schedule.at_end for schedule in self.schedules)

    def reason(self, now: Moment, past: Past) -> str | None:
        return next((reason for one in self.schedules if (reason := one.reason(now, past))), None)

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "schedules": [schedule.plain() for schedule in self.schedules]}

    def describe(self) -> str:
        return " or ".join(schedule.describe() for schedule in self.schedules)

    def state(self, past: Past) -> dict[str, Any]:
        return {"name": self.name, "schedules": [schedule.state(past) for schedule in self.schedules]}


SCHEDULES: dict[str, type[Schedule]] = {
    schedule.name: schedule
    for schedule in (EveryEpochs, EverySteps, AtEnd, Never, OnPlateau, PerformanceTriggered, Adaptive, AnyOf)
}


def since_merge(
    past: Past, of_epoch: Callable[[Record], float], of_merge: Callable[[Record], float | None]
) -> list[float]:
    """Returns a score at the end of each epoch since the last merge.

    The first value is the score after that merge: of the merged model if the members were replaced, else of the
    members.

    Args:
        past: history of the run.
        of_epoch: reads the score from the scores of an epoch.
        of_merge: reads the score of the merged model from a merge record, None if unknown.
    """
    if not past.merges:
        return [of_epoch(epoch) for epoch in past.epochs]
    last = past.merges[-1]
    after = [of_epoch(epoch) for epoch in past.epochs if epoch["step"] > last["step"]]
    if last["committed"] and last["sync"] == "replace":
        merged = of_merge(last)
        return after if merged is None else [merged, *after]
    if last["committed"] and last["sync"] != "none":
        return after
    return [*(of_epoch(epoch) for epoch in past.epochs if epoch["step"] == last["step"]), *after]


def _primary(merge: Record) -> Record:
    found: Record = next(iter(merge["targets"].values()))
    return found


def _own(merge: Record, member: str) -> float | None:
    after: float | None = merge["sources"].get(member, {}).get("after")
    return after
