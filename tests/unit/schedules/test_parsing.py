"""A schedule from flags, a text or a mapping; what does not exist is refused with the nearest name."""

from typing import Any

import pytest

from mu_lightning.schedules.parsing import build_schedule, list_schedules, schedule_of
from mu_lightning.schedules.schedules import (
    SCHEDULES,
    Adaptive,
    AnyOf,
    AtEnd,
    EveryEpochs,
    EverySteps,
    Never,
    OnPlateau,
    PerformanceTriggered,
    Schedule,
)
from mu_lightning.settings import MergeSettings
from mu_lightning.utilities.errors import UserError


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        (MergeSettings(), EveryEpochs(1)),
        (MergeSettings(frequency=3), EveryEpochs(3)),
        (MergeSettings(frequency=3, adaptive=True), Adaptive(3)),
        (
            MergeSettings(frequency=3, performance_trigger=True, convergence_threshold=0.01),
            AnyOf((EveryEpochs(3), PerformanceTriggered(convergence_threshold=0.01))),
        ),
        (
            MergeSettings(frequency=2, adaptive=True, performance_trigger=True),
            AnyOf((Adaptive(2), PerformanceTriggered())),
        ),
        (MergeSettings(schedule="plateau", convergence_threshold=0.01), OnPlateau(0.01)),
        (MergeSettings(schedule="adaptive", frequency=4), Adaptive(4)),
        (MergeSettings(schedule="adaptive:start=2", frequency=4), Adaptive(2)),
        (MergeSettings(schedule="adaptive", frequency=0), None),
    ],
)
def test_flags_and_names_give_one_schedule(settings: MergeSettings, schedule: Schedule | None) -> None:
    if schedule is None:
        with pytest.raises(UserError, match="adaptive's start is 0: it must be at least 1"):
            schedule_of(settings)
    else:
        assert schedule_of(settings) == schedule


@pytest.mark.parametrize(
    ("wanted", "schedule"),
    [
        ("every-steps:n=50", EverySteps(50)),
        ("never", Never()),
        ("adaptive:start=2,longest=6+plateau", AnyOf((Adaptive(2, 1, 6), OnPlateau()))),
        ("performance:max_drift=1.2,watch=nobody", PerformanceTriggered("nobody", max_drift=1.2)),
        ({"name": "every-steps", "n": 50}, EverySteps(50)),
        ("{name: every-steps, n: 50}", EverySteps(50)),
        (
            {"name": "any-of", "schedules": ["at-end", {"name": "performance", "max-drift": 2}]},
            AnyOf((AtEnd(), PerformanceTriggered(max_drift=2.0))),
        ),
    ],
)
def test_a_text_or_a_mapping_names_a_schedule_and_its_parameters(wanted: Any, schedule: Schedule) -> None:
    assert build_schedule(wanted) == schedule


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("adaptiv", "unknown schedule 'adaptiv': did you mean adaptive?"),
        ("every-epochs+platau", "unknown schedule 'platau': did you mean plateau?"),
        ("adaptive:begin=2", "unknown parameter of adaptive 'begin'"),
        ("adaptive:strat=2", "unknown parameter of adaptive 'strat': did you mean start"),
        ("never:n=2", "never has no parameter 'n': it has no parameters"),
        ("every-steps:n=many", "every-steps's n is 'many': it must be of type int"),
        ("every-steps:n=2.5", "every-steps's n is '2.5': it must be of type int"),
        ("every-steps:50", "a schedule is written name:parameter=value"),
        ("any-of", "any-of has one parameter, a list"),
        ({"n": 5}, "a schedule has a name"),
        ({"name": "every-steps", "n": 0}, "every-steps's n is 0: it must be at least 1"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_nearest_name(wanted: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_schedule(wanted)
    assert message in str(caught.value)


@pytest.mark.parametrize("flag", ["adaptive", "performance_trigger"])
def test_a_schedule_beside_flags_for_another_is_refused(flag: str) -> None:
    with pytest.raises(UserError, match="beside the schedule plateau"):
        schedule_of(MergeSettings(schedule="plateau", **{flag: True}))


def test_every_schedule_is_listed_with_its_parameters() -> None:
    text = list_schedules()
    for name in SCHEDULES:
        assert f"{name}: " in text
    assert "    start = 3: epochs until the first merge" in text
