"""A history that is not one is said in a line, whatever is wrong with it; one that is is read as it was written."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.reporting.schedule_plot import draw_schedules
from mu_lightning.schedules.history import HISTORY, read_history
from mu_lightning.schedules.replay import replay, table_rows
from mu_lightning.schedules.schedules import Adaptive, AnyOf, EverySteps, OnPlateau
from mu_lightning.utilities.errors import UserError

NASTY = (None, -1, 10**8, 10**400, 1e300, float("nan"), True, "", "12", [], {}, [[]], {"": None}, "\0", [1] * 3)


def history() -> dict[str, Any]:
    epochs = [
        {
            "epoch": number,
            "step": 10 * number,
            "members": {"nl-NL": 0.1 * number, "de-DE": 0.3},
            "target": {"nl-NL": 0.2, "ensemble": 0.3},
            "mean": 0.1 * number,
            "drift": 1.5,
        }
        for number in (1, 2, 3)
    ]
    merge = {"epoch": 2, "step": 20, "committed": True, "sync": "replace", "index": 1, "reason": "every 2 epochs"}
    merge |= {"targets": {"af-ZA": {"gain": 0.1, "after": 0.4, "before": {"nl-NL": 0.2}}}, "sources": {"nl-NL": {}}}
    state = {"name": "any-of", "schedules": [{"name": "adaptive", "interval": 2}]}
    return {"targets": ["af-ZA"], "schedule": state, "epochs": epochs, "merges": [{**merge, "schedule": state}]}


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = read_history(written(tmp_path / HISTORY, history()).parent)
    assert (list(found.epochs), list(found.merges)) == (history()["epochs"], history()["merges"])
    assert found.targets == ("af-ZA",)


def with_epochs(count: int) -> dict[str, Any]:
    epochs = [history()["epochs"][0] | {"epoch": number, "step": number} for number in range(1, count + 1)]
    return history() | {"epochs": epochs}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (lambda: {}, "targets: Field required"),
        (lambda: history() | {"targets": []}, "targets: List should have at least 1 item"),
        (lambda: history() | {"epochs": []}, "has no scores of epochs"),
        (lambda: history() | {"epochs": history()["epochs"][::-1]}, "out of order"),
        (lambda: history() | {"epochs": [history()["epochs"][0] | {"step": 10**9}]}, "epochs.0.step"),
        (lambda: history() | {"epochs": [history()["epochs"][0] | {"target": {}}]}, "none of the ensemble"),
        (lambda: history() | {"targets": ["sq-AL"]}, "a merge has no outcome for a target"),
        (lambda: with_epochs(6000), "at most 5000 items"),
    ],
)
def test_a_history_that_cannot_be_replayed_is_refused(tmp_path: Path, content: Callable[[], Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        read_history(written(tmp_path / HISTORY, content()))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 10**5, '{"a":' * 900 + "1" + "}" * 900])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / HISTORY).write_text(text)
    with pytest.raises(UserError, match=r"history.json"):
        read_history(tmp_path)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, one in items for place in places(one, (*way, key)))]


def test_whatever_stands_in_a_history_is_replayed_and_drawn_or_refused(tmp_path: Path) -> None:
    chance = random.Random(0)
    schedules = [EverySteps(5), AnyOf((Adaptive(), OnPlateau()))]
    replayed = 0
    for _ in range(250):
        content = history()
        *way, last = chance.choice(places(content)[1:])
        within = content
        for key in way:
            within = within[key]
        if chance.random() < 0.3:
            del within[last]
        else:
            within[last] = chance.choice(NASTY)
        found, refusal = None, ""
        try:
            found = read_history(written(tmp_path / HISTORY, content))
        except UserError as error:
            refusal = str(error)
        assert len(refusal) < 500
        if found is None:
            continue
        merges = {str(place): replay(schedule, found) for place, schedule in enumerate(schedules)}
        assert table_rows(merges["0"], found.targets[0])
        if replayed % 20 == 0:
            own = [dict(merge) | {"recorded": True} for merge in found.merges]
            draw_schedules(found.epochs, {"run": own, **merges}, found.targets[0], tmp_path / "picture")
        replayed += 1
    assert replayed > 25
