"""Figures of methods: dot plots with intervals, heat maps, ranks, costs."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mu_lightning.evaluation.statistics.ranks import Ranking

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Color-blind safe palette (Okabe and Ito 2008) for light and dark backgrounds.
KINDS = {
    "one_shot": "#0072b2",
    "tuned": "#4b3fa7",
    "ensemble": "#d55e00",
    "iterative": "#009e73",
    "joint": "#e69f00",
    "single": "#56b4e9",
    "baseline": "#7d8590",
    "model": "#cc79a7",
}
# The report page replaces these colors, to support light and dark mode.
INK, MUTED, LINE = "#1b1f24", "#5b6471", "#d0d5dc"
STYLE: Any = {  # of matplotlib, for `rc_context`
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "svg.hashsalt": "mu-lightning",
}


@dataclass(frozen=True)
class Point:
    """A value with its interval.

    Attributes:
        label: label of the method.
        value: a share or a difference of shares.
        interval: 95 % interval, if known.
        kind: kind of the method, for the color.
        full: whether the dot is filled.
    """

    label: str
    value: float
    interval: tuple[float, float] | None
    kind: str
    full: bool


def new_figure(width: float, height: float) -> "Figure":
    """Creates a figure, independent of pyplot's global state; the size is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def accuracies(dots: Sequence[Point]) -> "Figure":
    """Dot plot of mean accuracies with intervals, one line per method."""
    figure = new_figure(7.2, 1.0 + 0.24 * len(dots))
    axes = figure.add_subplot()
    _dots(axes, dots)
    axes.set_xlabel("mean accuracy, %")
    _legend(axes, [dot.kind for dot in dots])
    return figure


def differences(panels: Sequence[tuple[str, Sequence[Point]]]) -> "Figure":
    """Dot plots of differences with intervals: one panel per baseline, one line per method."""
    columns = min(4, len(panels))
    starts = range(0, len(panels), columns)
    # Each row of panels has the methods of all its baselines.
    labels = [
        list(dict.fromkeys(dot.label for _, dots in panels[start : start + columns] for dot in dots))
        for start in starts
    ]
    longest = max(len(label) for names in labels for label in names)
    heights = [0.95 + 0.22 * len(names) for names in labels]
    figure = new_figure(max(5.0, 0.07 * longest + 2.0 * columns + 0.6), sum(heights))
    grid = figure.subplots(len(labels), columns, squeeze=False, sharey="row", height_ratios=heights)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        baseline, dots = panels[place]
        _dots(axes, dots, labels[place // columns])
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.set_title(_wrapped(f"to {baseline}", 24))
        axes.set_xlabel("points")
        axes.tick_params(labelleft=place % columns == 0)
    return figure


def difference_map(values: np.ndarray, labels: Sequence[str], targets: Sequence[str]) -> "Figure":
    """Heat map of differences by method and target in percentage points."""
    scaled = 100 * values
    limit = max(1.0, float(np.nanmax(np.abs(scaled), initial=0.0)))
    texts = [[_short(value) for value in row] for row in scaled]
    return _map(scaled, labels, targets, texts, cmap="RdBu", low=-limit, high=limit, bar="points")


def win_rates(rates: np.ndarray, labels: Sequence[str]) -> "Figure":
    """Heat map of win rates of all pairs of methods in percent."""
    texts = [["" if np.isnan(value) else f"{100 * value:.0f}" for value in row] for row in rates]
    return _map(100 * rates, labels, labels, texts, cmap="RdBu", low=0.0, high=100.0, bar="% of targets won")


def critical_difference(ranking: Ranking) -> "Figure":
    """Critical difference diagram (Demsar 2006)."""
    import pandas
    import scikit_posthocs

    names = list(ranking.methods)
    half = -(-len(names) // 2)
    figure = new_figure(10.0, 1.3 + 0.26 * half + 0.06 * len(names))
    axes = figure.add_subplot()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scikit_posthocs.critical_difference_diagram(
            pandas.Series(ranking.mean_ranks),
            pandas.DataFrame(ranking.pairwise, index=names, columns=names),
            ax=axes,
            label_fmt_left="{label}  {rank:.2f} ",
            label_fmt_right=" {rank:.2f}  {label}",
            # One palette for dots, lines and labels.
            color_palette=dict.fromkeys(names, INK),
            label_props={"fontsize": 9},
            marker_props={"s": 14},
            elbow_props={"linewidth": 0.8},
            crossbar_props={"color": KINDS["ensemble"], "linewidth": 2.5},
            text_h_margin=0.1,
        )
    # The default bar for the critical difference would overlap the axis labels.
    first = ranking.mean_ranks[names[0]]
    axes.plot([first, first + ranking.critical_difference], [2.2, 2.2], "|-", color=INK, linewidth=1.5, markersize=7)
    middle = first + ranking.critical_difference / 2
    axes.text(
        middle, 2.5, f"critical difference {ranking.critical_difference:.2f}", ha="center", va="bottom", fontsize=9
    )
    axes.set_ylim(top=3.9)
    axes.tick_params(axis="x", colors=MUTED, labelcolor=INK)
    axes.spines["top"].set_color(MUTED)
    return figure


def costs(rows: Sequence[tuple[str, str, float, float, float]]) -> "Figure":
    """Bar charts of time, memory and size of each method; NaN if unknown."""
    panels = (("seconds per result", 2), ("peak memory, GiB", 3), ("parameters, MiB", 4))
    known = [(title, column) for title, column in panels if any(not np.isnan(row[column]) for row in rows)]
    longest = max(len(row[0]) for row in rows)
    figure = new_figure(0.07 * longest + 2.2 * len(known) + 0.6, 0.9 + 0.22 * len(rows))
    grid = figure.subplots(1, len(known), squeeze=False, sharey=True)[0]
    for place, (axes, (title, column)) in enumerate(zip(grid, known, strict=True)):
        values = [float(row[column]) for row in rows]
        axes.barh(range(len(rows)), values, color=[KINDS.get(row[1], KINDS["model"]) for row in rows], height=0.65)
        for line, value in enumerate(values):
            if not np.isnan(value):
                axes.annotate(
                    f"{value:.3g}", (value, line), (3, 0), textcoords="offset points", va="center", fontsize=8
                )
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 1.25 * max((value for value in values if not np.isnan(value)), default=1.0) or 1.0)
        axes.set_title(title)
        axes.tick_params(length=0, labelleft=place == 0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.xaxis.set_visible(False)
    return figure


def _dots(axes: "Axes", dots: Sequence[Point], labels: Sequence[str] | None = None) -> None:
    labels = labels or [dot.label for dot in dots]
    for dot in dots:
        line, color = labels.index(dot.label), KINDS.get(dot.kind, KINDS["model"])
        if dot.interval is not None:
            axes.plot([100 * end for end in dot.interval], [line, line], color=color, linewidth=1.6, alpha=0.8)
        axes.plot(
            100 * dot.value, line, "o", color=color, markersize=5.5, markerfacecolor=color if dot.full else "none"
        )
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="x", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _legend(axes: "Axes", kinds: Sequence[str]) -> None:
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(kinds))
    marks = [
        Line2D([], [], color=KINDS.get(kind, KINDS["model"]), marker="o", linestyle="", label=kind) for kind in names
    ]
    axes.figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), fontsize=8)


def _map(
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]],
    cmap: str,
    low: float,
    high: float,
    bar: str,
) -> "Figure":
    longest_row, longest_column = max(map(len, rows)), max(map(len, columns))
    width = 0.075 * longest_row + 0.33 * len(columns) + 1.1
    figure = new_figure(max(5.0, width), 0.5 + 0.075 * longest_column + 0.25 * len(rows))
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap=cmap, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    for row, line in enumerate(texts):
        for column, text in enumerate(line):
            dark = abs((values[row, column] - low) / (high - low) - 0.5) > 0.32 if text else False
            color = "#fdfdfd" if dark else "#16191d"
            label = axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color)
            label.set_in_layout(False)  # inside the axes: skip measuring thousands of labels
    side = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, fraction=0.05, aspect=18)
    side.set_label(bar, color=INK)
    side.outline.set_visible(False)
    side.ax.tick_params(length=0)
    return figure


def _short(value: float) -> str:
    if np.isnan(value):
        return ""
    text = f"{value:+.0f}" if abs(value) >= 9.95 else f"{value:+.1f}"
    return "0" if text in ("+0.0", "-0.0") else text.replace("-", "\u2212")


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width))
