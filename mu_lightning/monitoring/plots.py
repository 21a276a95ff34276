"""Plots of merges, as SVG and PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mu_lightning.utilities.files import atomic_file

# Paul Tol's bright and muted schemes, distinguishable with color vision deficiency; markers distinguish members, too.
_SHADES = (
    "#4477aa",
    "#66ccee",
    "#228833",
    "#ccbb44",
    "#ee6677",
    "#aa3377",
    "#777777",
    "#99ddff",
    "#44bb99",
    "#eedd88",
)
_MARKS = "osD^vPX*<>"
_SHIFT = 0.14


def draw_merges(history: Sequence[Mapping[str, Any]], stem: Path) -> None:
    """Draws each target's dev accuracy around each merge into ``<stem>.svg`` and ``<stem>.png``.

    Each row is a target and each column a merge: dots for members and ensemble before the merge, and an arrow from the
    mean of the members to the merged model. A line joins kept merged models; crosses are rolled-back merges.

    Args:
        history: records of the merges from `MergeCallback`, at least one.
        stem: path of the plots, without suffix.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    targets = list(history[0]["targets"])
    width = min(18.0, max(6.8, 0.85 * len(history) + 3.8))
    figure = Figure(figsize=(width, 3.9 * len(targets)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, target in zip(figure.subplots(len(targets), squeeze=False)[:, 0], targets, strict=True):
        _draw_target(axes, history, target)
    with rc_context({"svg.hashsalt": "mu-lightning"}):
        for suffix in ("svg", "png"):
            with atomic_file(stem.with_suffix(f".{suffix}")) as temporary:
                # No dates and random ids in the file, for reproducible output.
                figure.savefig(temporary, format=suffix, dpi=150, metadata={"Date": None} if suffix == "svg" else None)


def _draw_target(axes: Any, history: Sequence[Mapping[str, Any]], target: str) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    places = [record["index"] for record in history]
    found = [record["targets"][target] for record in history]
    size = 5 if len(history) <= 20 else 3.5
    for place, name in enumerate(found[0]["weights"]):
        axes.plot(
            [index - _SHIFT for index in places],
            [one["before"][name] for one in found],
            _MARKS[place % len(_MARKS)],
            color=_SHADES[place % len(_SHADES)],
            markersize=size,
            label=f"{name}, {_weights([one['weights'][name] for one in found])}",
        )
    axes.plot(
        [index - _SHIFT for index in places],
        [one["before"]["ensemble"] for one in found],
        "_",
        color="black",
        markersize=3 * size,
        markeredgewidth=2,
        label="ensemble of the members",
    )
    for index, one in zip(places, found, strict=True):
        axes.annotate(
            "",
            xy=(index + _SHIFT, one["after"]),
            xytext=(index - _SHIFT, one["mean_before"]),
            arrowprops={
                "arrowstyle": "->",
                "color": "#bb3300" if one["gain"] < 0 else "#007733",
                "linewidth": 1.5,
                "linestyle": "-" if one["committed"] else "--",
            },
        )
    for committed, style, label in ((True, "-o", "merged model"), (False, "x", "merged model, rolled back")):
        chosen = [(index, one) for index, one in zip(places, found, strict=True) if one["committed"] is committed]
        if chosen:
            axes.plot(
                [index + _SHIFT for index, _ in chosen],
                [one["after"] for _, one in chosen],
                style,
                color="#222222" if committed else "#bb3300",
                linewidth=0.8,
                markersize=size - 1 if committed else size + 2,
                markeredgewidth=1 if committed else 2,
                label=label,
            )
    best = max(range(len(found)), key=lambda place: (found[place]["committed"], found[place]["after"]))
    for place, (index, one) in enumerate(zip(places, found, strict=True)):
        if len(history) <= 12 or place in (0, best, len(history) - 1):
            axes.annotate(
                f"{100 * one['after']:.1f}{'' if one['committed'] else ' rolled back'}",
                (index + _SHIFT, one["after"]),
                xytext=(0, 6 if one["gain"] >= 0 else -12),
                textcoords="offset points",
                fontsize=8,
                ha="center",
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
            )
    axes.margins(y=0.12)
    axes.set_xlim(places[0] - 0.6, places[-1] + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("merge (arrow: from the members' mean to the merged model)")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{target}: dev accuracy around each merge", loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _weights(weights: Sequence[float]) -> str:
    low, high = min(weights), max(weights)
    return f"weight {low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"weight {low:.2f} to {high:.2f}"
