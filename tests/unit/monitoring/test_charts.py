"""Where things stand in the page's charts."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from mu_lightning.monitoring.charts import BOTTOM, HEIGHT, TOP, axis, columns, timeline

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.42, 0.71], ["40 %", "50 %", "60 %", "70 %", "80 %"]),
        ([0.5021, 0.5098], ["50.2 %", "50.4 %", "50.6 %", "50.8 %", "51.0 %"]),
        ([0.0, 1.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        ([0.97, 1.0], ["97 %", "98 %", "99 %", "100 %"]),
    ],
)
def test_an_axis_has_round_ticks_around_its_values_and_no_share_above_100(
    values: list[float], labels: list[str]
) -> None:
    scale = axis(values, percent=True)
    assert [label for _, label in scale.ticks] == labels
    assert all(TOP <= scale(value) <= HEIGHT - BOTTOM for value in values)
    assert scale(values[-1]) < scale(values[0]), "higher values stand higher"


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_axis_of_one_value_has_room_around_it(value: float) -> None:
    scale = axis([value], percent=True)
    assert scale.low <= value <= scale.high
    assert scale.low < scale.high


@pytest.mark.parametrize("count", [1, 12, 500])
def test_columns_stand_apart_inside_the_chart(count: int) -> None:
    places, width = columns(count)
    assert len(places) == count
    assert places[-1] < width
    assert all(later - earlier >= 16 for earlier, later in pairwise(places))


def test_the_line_of_merged_models_leaves_out_what_was_rolled_back(merge_record: Make) -> None:
    history = [merge_record(1), merge_record(2, committed=False, gain=-0.2), merge_record(3)]
    chart = timeline(history, "af-ZA")
    assert len(chart["line"].split()) == 2
    assert [mark["committed"] for mark in chart["marks"]] == [True, False, True]
    assert chart["marks"][1]["after"] > chart["marks"][1]["mean"], "a loss points down"
    assert len(chart["marks"][0]["members"]) == 3
