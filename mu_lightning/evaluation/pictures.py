"""Pictures of what happened, as SVG and PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mu_lightning.files import atomic_file


def draw_merges(history: Sequence[dict[str, Any]], target: str, stem: Path) -> None:
    """Draws the target's dev accuracy around each merge into ``<stem>.svg`` and ``<stem>.png``.

    `history` holds the merges' records, as `MergeCallback` keeps them.

    A column a merge: a dot for each member before it, the ensemble's, and an arrow from the members' mean to the merged
    model. A line joins what the run had after each merge.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    found = [record["targets"][target] | {"index": record["index"]} for record in history]
    figure = Figure(figsize=(max(6.0, 1.1 * len(history) + 3.5), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    members = list(found[0]["weights"])
    shades = [
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
    ]
    marks = "osD^vPX*<>"
    for place, name in enumerate(members):
        axes.plot(
            [record["index"] - 0.12 for record in found],
            [record["before"][name] for record in found],
            marks[place % len(marks)],
            color=shades[place % len(shades)],
            markersize=5,
            label=f"{name}, weight {found[-1]['weights'][name]:.2f}",
        )
    axes.plot(
        [record["index"] - 0.12 for record in found],
        [record["before"]["ensemble"] for record in found],
        "_",
        color="black",
        markersize=16,
        markeredgewidth=2,
        label="ensemble of the members",
    )
    for record in found:
        axes.annotate(
            "",
            xy=(record["index"] + 0.12, record["after"]),
            xytext=(record["index"] - 0.12, record["mean_before"]),
            arrowprops={"arrowstyle": "->", "color": "#bb3300" if record["gain"] < 0 else "#007733", "linewidth": 1.6},
        )
        axes.annotate(
            f"{record['after']:.3f}{'' if record['committed'] else ' rolled back'}",
            (record["index"] + 0.15, record["after"]),
            fontsize=8,
            va="center",
        )
    axes.plot(
        [record["index"] + 0.12 for record in found],
        [record["after"] for record in found],
        "-o",
        color="#222222",
        linewidth=0.8,
        markersize=4,
        label="merged model",
    )
    axes.set_xlim(0.5, len(history) + 0.75)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("merge (arrow: from the members' mean to the merged model)")
    axes.set_ylabel("accuracy")
    axes.set_title(f"{target}: dev accuracy around each merge")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    for suffix in ("svg", "png"):
        path = stem.with_suffix(f".{suffix}")
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=150)
