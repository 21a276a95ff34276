"""Geometry of the charts on the merges page, in pixels; the template renders SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mu_lightning.monitoring.values import ENSEMBLE, Record, members

HEIGHT = 300
TOP, BOTTOM, LEFT, RIGHT = 16, 46, 52, 24


@dataclass(frozen=True)
class Axis:
    """A scale from values to pixels, with round ticks.

    Attributes:
        low: minimum value.
        high: maximum value.
        ticks: (pixel, label) of each tick.
        size: height of the chart in pixels, with margins.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    size: float

    def __call__(self, value: float) -> float:
        """Returns the pixel of a value, from the top."""
        return _pixel(value, self.low, self.high, self.size)


def _pixel(value: float, low: float, high: float, size: float) -> float:
    return round(TOP + (high - value) / (high - low) * (size - TOP - BOTTOM), 1)


def axis(values: Sequence[float], size: float = HEIGHT, floor: float | None = None, percent: bool = False) -> Axis:
    """Creates an axis with round limits that includes all values and `floor`."""
    low, high = min(values), max(values)
    if floor is not None:
        low, high = min(low, floor), max(high, floor)
    spread = (high - low) or 0.1
    rough = spread / (5 if size > 200 else 3)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    if low == high:
        low, high = low - step, high + step
    if percent:
        low, high = max(0.0, low), min(1.0, high)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    count = round((high - low) / step)
    ticks = [low + place * step for place in range(count + 1)]
    labels = [f"{100 * tick:.{max(0, digits - 2)}f} %" if percent else f"{tick:.{digits}f}" for tick in ticks]
    pixels = [_pixel(tick, low, high, size) for tick in ticks]
    return Axis(low, high, tuple(zip(pixels, labels, strict=True)), size)


def columns(count: int, widest: float = 110, narrowest: float = 16, room: float = 1080) -> tuple[list[float], float]:
    """Returns the centers of columns and the width of the chart, in pixels."""
    step = min(widest, max(narrowest, room / count))
    return [round(LEFT + step * (place + 0.5), 1) for place in range(count)], LEFT + step * count + RIGHT


def timeline(history: Sequence[Record], target: str) -> dict[str, Any]:
    """Accuracy of one target around each merge: members, their mean, ensemble, merged model."""
    found = [record["targets"][target] for record in history]
    scale = axis([value for one in found for value in (*one["before"].values(), one["after"])], percent=True)
    places, width = columns(len(history))
    shift = min(20.0, (width - LEFT - RIGHT) / len(history) * 0.25)
    names = members(history[0])
    every = math.ceil(len(history) / 24)  # maximum number of column labels
    marks = []
    for middle, record, one in zip(places, history, found, strict=True):
        marks.append(
            {
                "index": record["index"],
                "epoch": record["epoch"],
                "x": middle,
                "before_x": round(middle - shift, 1),
                "after_x": round(middle + shift, 1),
                "members": [(names.index(name), scale(one["before"][name])) for name in one["weights"]],
                "ensemble": scale(one["before"][ENSEMBLE]),
                "mean": scale(one["mean_before"]),
                "after": scale(one["after"]),
                "better": one["gain"] >= 0,
                "committed": one["committed"],
                "labeled": (record["index"] - 1) % every == 0,
                "title": f"merge {record['index']}, epoch {record['epoch']}: {one['mean_before']:.3f} to "
                f"{one['after']:.3f}{'' if one['committed'] else ', rolled back'}",
            }
        )
    line = " ".join(f"{mark['after_x']},{mark['after']}" for mark in marks if mark["committed"])
    legend = [(place, name) for place, name in enumerate(names) if any(name in one["weights"] for one in found)]
    return {"width": round(width), "height": HEIGHT, "axis": scale, "marks": marks, "line": line, "legend": legend}


def lines(
    history: Sequence[Record], series: dict[str, list[float]], floor: float | None = None, percent: bool = False
) -> dict[str, Any]:
    """A small line chart over merges: label -> values."""
    height = 190
    scale = axis([value for values in series.values() for value in values], height, floor, percent)
    places, width = columns(len(history), widest=60, narrowest=3, room=290)
    drawn = [
        (label, " ".join(f"{x},{scale(value)}" for x, value in zip(places, values, strict=True)))
        for label, values in series.items()
    ]
    every = math.ceil(len(history) / 12)
    labels = [(x, record["index"]) for x, record in zip(places, history, strict=True)][::every]
    return {"width": round(width), "height": height, "axis": scale, "lines": drawn, "labels": labels}
