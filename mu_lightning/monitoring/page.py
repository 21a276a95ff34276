"""The merges page of a run: a self-contained HTML file with a timeline and details of each merge."""

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from mu_lightning.monitoring.charts import lines, timeline
from mu_lightning.monitoring.values import Record, members, outcome
from mu_lightning.utilities.files import write_text

# What members do after a merge, by the setting ``sync``.
_AFTER_MERGE = {
    "replace": "after a merge all members restart from the merged model",
    "pull": "after a merge members move towards the merged model",
    "none": "after a merge members keep their weights",
}


def write_page(history: Sequence[Record], path: Path, name: str) -> None:
    """Writes the page atomically.

    Args:
        history: records of the merges, at least one.
        path: the HTML file.
        name: name of the run, for the heading.
    """
    write_text(path, merges_page(history, name))


def merges_page(history: Sequence[Record], name: str) -> str:
    """Renders the page as HTML: offline, for light and dark mode, keyboard-accessible."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    folder = files("mu_lightning.monitoring")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((folder / "merges.html.jinja").read_text(encoding="utf-8"))
    targets = list(history[0]["targets"])
    kept = {target: [one for one in history if one["targets"][target]["committed"]] for target in targets}
    farthest = max((value for record in history for value in record["distances"].values()), default=0.0)
    return template.render(
        style=Markup((folder / "merges.css").read_text(encoding="utf-8")),
        name=name,
        history=history,
        targets=targets,
        names=members(history[-1]),
        best={
            target: max(found, key=lambda record, target=target: record["targets"][target]["after"])  # type: ignore[misc]
            for target, found in kept.items()
            if found
        },
        latest={target: found[-1] for target, found in kept.items() if found},
        committed=sum(bool(record["committed"]) for record in history),
        seconds=sum(record["seconds"] for record in history),
        timelines={target: timeline(history, target) for target in targets},
        small=_small_charts(history) if len(history) > 1 else {},
        outcome=outcome,
        after_merge=_AFTER_MERGE.__getitem__,
        heat_map=lambda record: _heat_map(record, farthest),
        decision=_decision,
    )


def _small_charts(history: Sequence[Record]) -> dict[str, Any]:
    charts = {"Drift: mean distance between the members before each merge": lines(history, _drift(history), floor=0)}
    if all(record["sources"] for record in history):
        charts["Accuracy on the members' own locales, mean"] = lines(
            history,
            {
                "members, before the merge": [_mean(record, "before") for record in history],
                "merged model": [_mean(record, "after") for record in history],
            },
            percent=True,
        )
    for target in history[0]["targets"]:
        weights = [record["targets"][target]["weights"] for record in history]
        if any(one != weights[0] for one in weights):  # no chart for constant weights
            names = list(dict.fromkeys(name for one in weights for name in one))
            series = {name: [one.get(name, 0.0) for one in weights] for name in names}
            charts[f"Merge weights for {target}"] = lines(history, series, floor=0)
    return charts


def _drift(history: Sequence[Record]) -> dict[str, list[float]]:
    return {"drift": [record["drift"] for record in history]}


def _mean(record: Record, when: str) -> float:
    return sum(found[when] for found in record["sources"].values()) / len(record["sources"])


def _heat_map(record: Record, farthest: float) -> dict[str, Any]:
    """Distances as a square table: values, and shares of the maximum over all merges."""
    pairs = {tuple(pair.split("|")): value for pair, value in record["distances"].items()}
    names = list(dict.fromkeys(name for pair in pairs for name in pair))

    def cell(one: str, other: str) -> tuple[float | None, float]:
        value = pairs.get((one, other), pairs.get((other, one)))
        return (value, value / (farthest or 1.0) if value is not None else 0.0)

    return {"names": names, "rows": [(one, [cell(one, other) for other in names]) for one in names]}


def _decision(record: Record) -> list[tuple[str, str]]:
    """Describes the state of the schedule."""
    return [
        (key.replace("_", " "), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in record["schedule"].items()
    ]
