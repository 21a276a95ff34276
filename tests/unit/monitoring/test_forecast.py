"""The next merge and the time left, in words."""

from collections.abc import Callable
from typing import Any

import pytest

from mu_lightning.monitoring.forecast import duration, member_names, next_merge
from mu_lightning.schedules.schedules import Adaptive, AtEnd, EveryEpochs, EverySteps, Never, OnPlateau, Past, Schedule

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("schedule", "done", "said"),
    [
        (EveryEpochs(3), 0, "next merge after epoch 3"),
        (EveryEpochs(3), 3, "next merge after epoch 6"),
        (EveryEpochs(5), 10, "next merge after epoch 12"),
        (EverySteps(7), 0, "next merge after step 7"),
        (EverySteps(7), 3, "next merge after step 21"),
        (EverySteps(100), 0, "next merge after step 60"),
        (AtEnd(), 4, "next merge after epoch 12"),
        (AtEnd(), 12, "no further merge"),
        (Never(), 0, "no further merge"),
        (OnPlateau(), 4, "next merge after epoch 12 at the latest"),
        (Adaptive(start=4), 0, "next merge after epoch 4"),
    ],
)
def test_it_is_said_as_the_schedule_has_it_for_12_epochs_of_5_steps(schedule: Schedule, done: int, said: str) -> None:
    assert next_merge(schedule, Past(), done, done * 5, 5, 12) == said


def test_it_goes_by_the_merges_so_far(merge_record: Make) -> None:
    past = Past((), [merge_record(1, epoch=4, step=20, gain=0.1)])
    assert next_merge(Adaptive(start=4), past, 4, 20, 5, 12) == "next merge after epoch 7"


def test_a_run_without_an_end_merges_when_scores_say() -> None:
    assert next_merge(OnPlateau(), Past(), 4, 20, 5, None) == "next merge depends on scores"
    assert next_merge(EveryEpochs(3), Past(), 4, 20, 5, None) == "next merge after epoch 6"


def test_many_members_are_the_first_and_a_number() -> None:
    assert member_names(["nl-NL", "de-DE"]) == "nl-NL de-DE"
    assert member_names([f"m{place}" for place in range(6)]) == "m0 m1 m2 m3 m4 m5"
    assert member_names([f"m{place}" for place in range(30)]) == "m0 m1 m2 m3 m4 and 25 more"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (3 * 3600 + 125, "3 h 2 min"), (2 * 86400 + 3600, "2 d 1 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
