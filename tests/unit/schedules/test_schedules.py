"""When each schedule merges, over made histories, and what it says of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from mu_lightning.schedules.schedules import (
    SCHEDULES,
    Adaptive,
    AnyOf,
    AtEnd,
    EveryEpochs,
    EverySteps,
    Moment,
    Never,
    OnPlateau,
    Past,
    PerformanceTriggered,
    Schedule,
)
from mu_lightning.utilities.errors import UserError

STEPS = 4  # optimizer steps in an epoch


def epoch(number: int, mean: float = 0.5, drift: float = 0.5, ensemble: float | None = None, **members: float) -> Any:
    return {
        "epoch": number,
        "step": STEPS * number,
        "members": members or {"en-US": mean},
        "target": {"en-US": mean, "ensemble": mean if ensemble is None else ensemble},
        "mean": mean,
        "drift": drift,
    }


def merge(
    at: int, gain: float = 0.1, after: float = 0.5, committed: bool = True, sync: str = "replace", **own: float
) -> Any:
    return {
        "index": at,
        "epoch": at,
        "step": STEPS * at,
        "committed": committed,
        "sync": sync,
        "targets": {"af-ZA": {"gain": gain, "after": after}},
        "sources": {name: {"after": value} for name, value in (own or {"en-US": after}).items()},
    }


def end(number: int, last: bool = False) -> Moment:
    return Moment(number, STEPS * number, epoch_end=True, last=last)


def merged_at(schedule: Schedule, means: Sequence[float], gains: dict[int, float] | None = None) -> list[int]:
    """The epochs at whose ends the schedule merges, if each merge leaves the members' mean as it is."""
    epochs: list[Any] = []
    merges: list[Any] = []
    for number, mean in enumerate(means, 1):
        epochs.append(epoch(number, mean))
        if schedule.due(end(number, number == len(means)), Past(epochs, merges)):
            gain = (gains or {}).get(number, 0.1)
            merges.append(merge(number, gain, mean, committed=gain > -1) | {"index": len(merges) + 1})
    return [record["epoch"] for record in merges]


@pytest.mark.parametrize(
    ("n", "epochs", "merges"),
    [(1, 4, [1, 2, 3, 4]), (2, 5, [2, 4, 5]), (3, 6, [3, 6]), (0, 4, [4]), (9, 4, [4])],
)
def test_every_n_epochs_and_at_the_end(n: int, epochs: int, merges: list[int]) -> None:
    assert merged_at(EveryEpochs(n), [0.5] * epochs) == merges


def test_at_the_end_alone_and_never() -> None:
    assert merged_at(AtEnd(), [0.5] * 4) == [4]
    assert merged_at(Never(), [0.5] * 4) == []


def test_it_says_why() -> None:
    assert EveryEpochs(1).due(end(1, True), Past()) == "every epoch"
    assert EveryEpochs(2).due(end(2), Past()) == "every 2 epochs"
    assert EveryEpochs(2).due(end(3, True), Past()) == "end of training"
    assert EveryEpochs(2).due(end(3), Past()) is None
    assert EverySteps(6).due(Moment(2, 6, epoch_end=False), Past()) == "every 6 steps"


def test_every_n_steps_in_an_epoch_too_and_not_before_the_first_step() -> None:
    schedule = EverySteps(3)
    assert [step for step in range(11) if schedule.due(Moment(1, step, epoch_end=False), Past())] == [3, 6, 9]
    assert schedule.by_step
    assert not EveryEpochs(3).by_step


def test_nothing_is_merged_twice_after_one_step() -> None:
    past = Past([epoch(3)], [merge(3)])
    for schedule in (EverySteps(4), EveryEpochs(1), AtEnd(), Adaptive(1)):
        assert schedule.due(end(3, last=True), past) is None
        assert schedule.due(end(4, last=True), past) is not None


def test_a_plateau_is_a_mean_of_the_last_two_gains_below_the_threshold() -> None:
    assert merged_at(OnPlateau(), [0.2, 0.3, 0.4, 0.4, 0.4, 0.9]) == [5, 6]
    assert merged_at(OnPlateau(convergence_threshold=0.06), [0.2, 0.3, 0.4, 0.41, 0.5]) == [4, 5]
    # The mean counts: a fall that the next epoch makes up for is none.
    assert merged_at(OnPlateau(), [0.2, 0.1, 0.3, 0.5]) == [4]
    reason = OnPlateau().due(end(3), Past([epoch(1, 0.5), epoch(2, 0.5), epoch(3, 0.5)]))
    assert reason == "plateau: mean of the last two gains +0.0000, below 0.0001"


def test_after_a_merge_a_plateau_is_counted_from_what_the_members_took_over() -> None:
    epochs = [epoch(1, 0.2), epoch(2, 0.2), epoch(3, 0.2), epoch(4, 0.4), epoch(5, 0.4)]
    schedule = OnPlateau()
    # The merged model had 0.4, and two epochs brought nothing.
    assert schedule.due(end(5), Past(epochs, [merge(3, after=0.4)]))
    # It had 0.2: they brought something.
    assert schedule.due(end(5), Past(epochs, [merge(3, after=0.2)])) is None
    # It was rolled back, or members kept their own: they went on from 0.2.
    assert schedule.due(end(5), Past(epochs, [merge(3, after=0.4, committed=False)])) is None
    assert schedule.due(end(5), Past(epochs, [merge(3, after=0.4, sync="none")])) is None
    # They were only pulled: what they had is not known until they are scored.
    assert schedule.due(end(5), Past(epochs, [merge(3, after=0.4, sync="pull")])) is None


def test_a_member_or_the_ensemble_that_stops_improving_triggers_a_merge() -> None:
    def reason(watch: str, *epochs: Any) -> str | None:
        return PerformanceTriggered(watch=watch, patience=2).due(end(len(epochs)), Past(epochs))

    stuck = [epoch(n, 0.1 * n, a=0.1 * n, b=0.3) for n in (1, 2, 3)]
    assert reason("members", *stuck) == "b stopped improving: at most 0.3000 in the last 2 epochs, 0.3000 before"
    assert reason("any", *stuck) == reason("members", *stuck)
    assert reason("ensemble", *stuck) is None
    assert reason("nobody", *stuck) is None
    assert reason("members", *stuck[:2]) is None, "two epochs without an improvement after one are needed"
    still = [epoch(n, 0.1 * n, ensemble=0.4, a=0.1 * n) for n in (1, 2, 3)]
    assert (
        reason("ensemble", *still)
        == "the ensemble stopped improving: at most 0.4000 in the last 2 epochs, 0.4000 before"
    )
    assert reason("members", *still) is None


def test_improving_by_less_than_the_threshold_is_not_improving() -> None:
    epochs = [epoch(n, a=0.5 + 0.01 * n) for n in (1, 2)]
    assert PerformanceTriggered("members", 1, 0.02).due(end(2), Past(epochs))
    assert PerformanceTriggered("members", 1, 0.005).due(end(2), Past(epochs)) is None


def test_after_a_merge_a_member_is_measured_against_the_merged_model() -> None:
    epochs = [epoch(1, a=0.9), epoch(2, a=0.5), epoch(3, a=0.6)]
    trigger = PerformanceTriggered("members", patience=2)
    assert trigger.due(end(3), Past(epochs))
    assert trigger.due(end(3), Past(epochs, [merge(1, a=0.4)])) is None
    assert trigger.due(end(3), Past(epochs, [merge(1, a=0.7)]))


def test_members_that_drift_past_the_bound_are_merged() -> None:
    trigger = PerformanceTriggered("nobody", max_drift=0.8)
    assert trigger.due(end(1), Past([epoch(1, drift=0.81)])) == "members drifted apart: mean distance 0.810, above 0.8"
    assert trigger.due(end(1), Past([epoch(1, drift=0.8)])) is None


def test_adaptive_shortens_while_merges_help_and_lengthens_when_they_do_not() -> None:
    assert merged_at(Adaptive(start=3), [0.5] * 12) == [3, 5, 6, 7, 8, 9, 10, 11, 12]
    nothing = dict.fromkeys(range(1, 16), 0.0)
    assert merged_at(Adaptive(start=1), [0.5] * 15, nothing) == [1, 3, 6, 10, 15]
    rolled_back = dict.fromkeys(range(1, 16), -2.0)
    assert merged_at(Adaptive(start=1), [0.5] * 15, rolled_back) == [1, 3, 6, 10, 15]


@pytest.mark.parametrize(
    ("record", "interval", "why"),
    [
        (merge(1, 0.02), 2, "merge 1 gained 0.0200: 3 -> 2"),
        (merge(1, 0.00005), 4, "merge 1 changed nothing (+0.0001): 3 -> 4"),
        (merge(1, -0.02), 4, "merge 1 lost 0.0200: 3 -> 4"),
        (merge(1, -0.02, committed=False), 4, "merge 1 was rolled back (-0.0200): 3 -> 4"),
    ],
)
def test_every_decision_of_adaptive_has_its_reason(record: Any, interval: int, why: str) -> None:
    state = Adaptive(start=3).state(Past((), [record]))
    assert (state["interval"], state["why"]) == (interval, why)


def test_adaptive_stays_between_one_and_ten_epochs() -> None:
    helps, fails = [merge(n, 0.1) for n in range(1, 20)], [merge(n, -0.1) for n in range(1, 20)]
    assert Adaptive(start=3).interval(Past((), helps)) == (1, "merge 19 gained 0.1000: still 1")
    assert Adaptive(start=3).interval(Past((), fails)) == (10, "merge 19 lost 0.1000: still 10")
    assert Adaptive(start=3, shortest=2, longest=4).interval(Past((), helps))[0] == 2
    assert Adaptive(start=3, shortest=2, longest=4).interval(Past((), fails))[0] == 4
    assert len(list(Adaptive().decisions(Past((), helps)))) == 20


def test_any_of_merges_when_one_says_so_and_gives_its_reason() -> None:
    schedule = AnyOf((EveryEpochs(4), OnPlateau(), EverySteps(6)))
    assert schedule.due(end(4), Past()) == "every 4 epochs"
    assert schedule.due(Moment(2, 6, epoch_end=False), Past()) == "every 6 steps"
    assert schedule.due(Moment(2, 7, epoch_end=False), Past()) is None
    assert (schedule.by_step, schedule.reads_scores, schedule.reads_target) == (True, True, True)
    assert not AnyOf((EveryEpochs(4), AtEnd())).reads_target
    assert [part["name"] for part in schedule.state(Past())["schedules"]] == ["every-epochs", "plateau", "every-steps"]
    assert not AnyOf((Never(),)).at_end


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule_is_pure_and_its_state_is_plain_values(name: str) -> None:
    schedule = AnyOf((EveryEpochs(2), Adaptive())) if name == "any-of" else SCHEDULES[name]()
    past = Past([epoch(1, a=0.5), epoch(2, a=0.5), epoch(3, a=0.5)], [merge(1, a=0.5)])
    reasons = {schedule.due(end(3), past) for _ in range(3)}
    assert len(reasons) == 1

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(one) for key, one in value.items())
        if isinstance(value, list):
            return all(map(plain, value))
        return value is None or type(value) in (str, int, float, bool)

    state = schedule.state(past)
    assert plain(state)
    assert state["name"] == name
    assert schedule.due(end(1), Past([epoch(1)])) is None or name == "every-epochs", "one epoch is no reason yet"
    assert (schedule.due(end(4, last=True), past) is None) == (name == "never")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EveryEpochs(-1), "every-epochs's n is -1: it must be at least 0"),
        (lambda: EverySteps(0), "every-steps's n is 0: it must be at least 1"),
        (lambda: Adaptive(start=11), "adaptive's start is 11: it must be at least 1 and at most 10"),
        (lambda: Adaptive(shortest=4, longest=3), "adaptive's shortest interval, 4, is above its longest, 3"),
        (lambda: PerformanceTriggered(watch="ensembel"), "did you mean ensemble"),
        (lambda: AnyOf(()), "any-of needs at least one schedule"),
    ],
)
def test_parameters_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert message in str(caught.value)
