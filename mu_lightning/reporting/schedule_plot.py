"""Plots when schedules would have merged in a recorded run, as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.schedules.schedules import ENSEMBLE
from mu_lightning.utilities.files import atomic_file

_COLORS = ("#4477aa", "#ee6677", "#228833", "#aa3377", "#ccbb44", "#66ccee")


def draw_schedules(
    epochs: Sequence[Mapping[str, Any]],
    merges: Mapping[str, Sequence[Mapping[str, Any]]],
    target: str,
    stem: Path,
    *,
    replace: bool = True,
) -> None:
    """Plots scores and drift by epoch, and one row of merges per schedule, to ``<stem>.svg`` and ``<stem>.png``.

    Filled markers are merges that the run made, too; their outcome is known. Numbers next to markers are intervals in
    epochs of adaptive schedules.

    Args:
        epochs: scores at the end of each epoch.
        merges: name of the row -> merges with ``step`` and ``recorded``; those of the run first.
        target: the primary target.
        stem: path without suffix.
        replace: whether to replace existing plots.

    Raises:
        UserError: a plot exists and must not be replaced.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = 4.4 + 0.42 * len(merges)
    figure = Figure(figsize=(min(max(7.0, 0.32 * len(epochs) + 4), 80.0), height), layout="constrained")
    FigureCanvasAgg(figure)
    scores, drift, rows = figure.subplots(3, 1, sharex=True, height_ratios=[2.6, 1.1, 0.42 * len(merges) + 0.3])
    at = [epoch["epoch"] for epoch in epochs]
    for place, name in enumerate(epochs[0]["members"]):
        values = [epoch["target"].get(name, np.nan) for epoch in epochs]
        scores.plot(at, values, color="#bbbbbb", linewidth=0.8, label=None if place else "each member")
    scores.plot(at, [epoch["mean"] for epoch in epochs], "-o", color="#222222", markersize=3, label="members' mean")
    ensemble = [epoch["target"][ENSEMBLE] for epoch in epochs]
    scores.plot(at, ensemble, "--", color="#222222", linewidth=1.2, label="their ensemble")
    scores.set_ylabel("dev accuracy")
    scores.set_title(f"{target}: recorded scores, and when each schedule would have merged", fontsize=11)
    scores.legend(fontsize=8, loc="lower right", frameon=False)
    drift.plot(at, [epoch["drift"] for epoch in epochs], "-o", color="#777777", markersize=3)
    drift.set_ylabel("drift")
    drift.set_ylim(bottom=0)
    for row, made in enumerate(merges.values()):
        color = "#222222" if row == 0 else _COLORS[(row - 1) % len(_COLORS)]
        rows.axhline(row, color="#dddddd", linewidth=0.8, zorder=0)
        for merge in made:
            x = _position(epochs, merge["step"])
            face = color if merge["recorded"] else "white"
            rows.plot([x], [row], "v", color=color, markerfacecolor=face, markersize=7)
            interval = _interval(merge.get("schedule", {}))
            if interval is not None:
                rows.annotate(
                    str(interval), (x, row), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center"
                )
    rows.set_yticks(range(len(merges)), list(merges), fontsize=8)
    rows.set_ylim(len(merges) - 0.5, -0.7)
    rows.set_xlabel("epoch\nfilled: the run merged there too; number: epochs to the next merge")
    rows.set_xlim(0.5 if not _within(epochs, merges) else 0, at[-1] + 0.5)
    rows.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (scores, drift):
        axes.grid(axis="y", alpha=0.3)
    for suffix in ("svg", "png"):
        with atomic_file(stem.with_name(f"{stem.name}.{suffix}"), replace=replace) as temporary:
            figure.savefig(temporary, format=suffix, dpi=150)


def _position(epochs: Sequence[Mapping[str, Any]], step: int) -> float:
    """Position of an optimizer step on the axis of epochs: 2.5 in the middle of the third epoch."""
    steps, at = [0, *(epoch["step"] for epoch in epochs)], [epochs[0]["epoch"] - 1, *(one["epoch"] for one in epochs)]
    return float(np.interp(step, steps, at))


def _within(epochs: Sequence[Mapping[str, Any]], merges: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    return any(_position(epochs, merge["step"]) < epochs[0]["epoch"] for made in merges.values() for merge in made)


def _interval(state: Mapping[str, Any]) -> int | None:
    for part in (state, *state.get("schedules", ())):
        if "interval" in part:
            return int(part["interval"])
    return None
