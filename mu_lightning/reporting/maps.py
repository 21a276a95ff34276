"""Figures of languages: N-by-N matrix, similarity and transfer, weights, merges over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mu_lightning.reporting.figures import INK, KINDS, LINE, MUTED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Merges:
    """Merges of an iterative run; accuracies are on the target's dev split.

    Attributes:
        name: name of the run.
        target: the target locale.
        index: indices of the merges.
        before: mean accuracy of the members before each merge.
        ensemble: accuracy of the members' ensemble before each merge.
        after: accuracy of the merged model.
        committed: whether the merge was kept.
        members: member -> accuracy before each merge.
    """

    name: str
    target: str
    index: Sequence[int]
    before: Sequence[float]
    ensemble: Sequence[float]
    after: Sequence[float]
    committed: Sequence[bool]
    members: dict[str, Sequence[float]]


def matrix_map(
    accuracy: np.ndarray, sources: Sequence[str], targets: Sequence[str], best: set[tuple[int, int]]
) -> "Figure":
    """Heat map of accuracies of source models (rows) on locales (columns); boxes mark the best other source."""
    from matplotlib.patches import Rectangle

    side = 0.2 if len(targets) > 16 else 0.38
    figure = new_figure(max(4.5, side * len(targets) + 2.0), max(3.2, side * len(sources) + 1.2))
    axes = figure.add_subplot()
    image = axes.imshow(100 * accuracy, cmap="cividis", aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(targets)), targets, rotation=90)
    axes.set_yticks(range(len(sources)), sources)
    axes.tick_params(length=0, pad=3, labelsize=7.5 if len(targets) > 16 else 9)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("tested on")
    axes.set_ylabel("trained on")
    known = 100 * accuracy[~np.isnan(accuracy)]
    middle = (known.min() + known.max()) / 2 if known.size else 0.0
    for row, column in np.argwhere(~np.isnan(accuracy)):
        value = 100 * accuracy[row, column]
        if len(targets) <= 16:
            color = "#16191d" if value > middle else "#fdfdfd"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=color)
        if (int(row), int(column)) in best:
            box = Rectangle((column - 0.43, row - 0.43), 0.86, 0.86, fill=False, edgecolor="#ff5a36", linewidth=1.5)
            axes.add_patch(box)
    side_bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.02, aspect=25)
    side_bar.set_label("accuracy, %", color=INK)
    side_bar.outline.set_visible(False)
    side_bar.ax.tick_params(length=0)
    return figure


def similarity_transfer(panels: Sequence[tuple[str, float, np.ndarray, np.ndarray]]) -> "Figure":
    """Scatter plots of similarity and transfer relative to the target's mean, one panel per feature set.

    Args:
        panels: name, mean rank correlation, similarities (pairs,) and relative transfer (pairs,).
    """
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(2.5 * columns + 0.6, 2.3 * lines + 0.4)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(panels):
            axes.set_visible(False)
            continue
        name, correlation, similarity, above = panels[place]
        size = 14 if len(above) < 300 else 4
        axes.axhline(0, color=LINE, linewidth=1)
        axes.scatter(similarity, 100 * above, s=size, color="#3a8fd6", alpha=0.7, linewidths=0, rasterized=True)
        axes.set_title(f"{name}\nmean rho {correlation:+.2f}".replace("-", "\u2212"))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(length=2)
        if place + columns >= len(panels):
            axes.set_xlabel("similarity")
        if place % columns == 0:
            axes.set_ylabel("points above\nthe target's mean")
    return figure


def weights(panels: Sequence[tuple[str, Sequence[str], np.ndarray]], sources: Sequence[str]) -> "Figure":
    """Heat maps of weights by target and source, one panel per weight source.

    Args:
        panels: name, row names, weights (rows, sources) with NaN for unused sources.
        sources: names of the columns.
    """
    wide = 0.27 * len(sources) + 1.4
    heights = [0.24 * len(targets) + 1.5 for _, targets, _ in panels]
    figure = new_figure(max(5.0, wide), sum(heights))
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    highest = max((float(np.nanmax(values)) for *_, values in panels), default=1.0)
    image = None
    for axes, (name, targets, values) in zip(grid, panels, strict=True):
        image = axes.imshow(values, cmap="Blues", vmin=0, vmax=highest, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(len(sources)), sources, rotation=90)
        axes.set_yticks(range(len(targets)), targets)
        axes.tick_params(length=0, pad=3)
        axes.spines[:].set_visible(False)
        axes.set_title(f"{name} weights", loc="left")
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            color = "#fdfdfd" if value > 0.6 * highest else "#16191d"
            text = f"{value:.2f}".removeprefix("0")
            label = axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color)
            label.set_in_layout(False)
    if image is not None:
        side = figure.colorbar(image, ax=list(grid), shrink=0.6, pad=0.02, aspect=25)
        side.set_label("weight", color=INK)
        side.outline.set_visible(False)
        side.ax.tick_params(length=0)
    return figure


def timelines(runs: Sequence[Merges]) -> "Figure":
    """Timelines of merges, one panel per run: members and ensemble before, merged model after."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    columns = min(3, len(runs))
    lines = -(-len(runs) // columns)
    figure = new_figure(max(5.2, 3.0 * columns + 0.4), 2.5 * lines + 0.7)
    grid = figure.subplots(lines, columns, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(runs):
            axes.set_visible(False)
            continue
        run = runs[place]
        for values in run.members.values():
            axes.plot(run.index, 100 * np.array(values), ".", color=KINDS["baseline"], markersize=5, alpha=0.7)
        axes.plot(
            run.index, 100 * np.array(run.ensemble), "_", color=KINDS["ensemble"], markersize=11, markeredgewidth=2
        )
        for number, before, after in zip(run.index, run.before, run.after, strict=True):
            axes.plot([number, number], [100 * before, 100 * after], color=MUTED, linewidth=1)
        axes.plot(run.index, 100 * np.array(run.after), "-", color=KINDS["iterative"], linewidth=1)
        for number, after, kept in zip(run.index, run.after, run.committed, strict=True):
            face = KINDS["iterative"] if kept else "none"
            axes.plot(number, 100 * after, "o", color=KINDS["iterative"], markersize=5.5, markerfacecolor=face)
        axes.set_title(run.target if run.name == run.target else f"{run.target}: {run.name}", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.12)
        axes.grid(axis="y", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("merge")
        if place % columns == 0:
            axes.set_ylabel("dev accuracy, %")
    marks = [
        Line2D([], [], color=KINDS["baseline"], marker=".", linestyle="", label="member before"),
        Line2D([], [], color=KINDS["ensemble"], marker="_", markeredgewidth=2, linestyle="", label="their ensemble"),
        Line2D([], [], color=KINDS["iterative"], marker="o", linestyle="-", label="merged model"),
        Line2D([], [], color=KINDS["iterative"], marker="o", markerfacecolor="none", linestyle="", label="rolled back"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=4 if columns > 1 else 2, fontsize=8)
    return figure
