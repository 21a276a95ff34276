"""Heat map of the similarity matrix."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mu_lightning.locales import is_language, locale
from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file

if TYPE_CHECKING:
    from mu_lightning.typology.plan import SourcePlan

FORMATS = (".svg", ".png", ".pdf")


def check_format(path: Path) -> None:
    """Raises UserError for unsupported file formats."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"a figure is written as {', '.join(FORMATS)}, not as '{path.name}'")


def clustered_order(matrix: SimilarityMatrix) -> list[int]:
    """Orders rows by similarity: average linkage with optimal leaf ordering.

    Optimal leaf ordering: Bar-Joseph et al. 2001 (https://doi.org/10.1093/bioinformatics/17.suppl_1.S22).
    """
    if len(matrix.locales) < 3:
        return list(range(len(matrix.locales)))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    both_ways = (matrix.values + matrix.values.T) / 2
    distances = both_ways.max() - both_ways
    np.fill_diagonal(distances, 0.0)
    condensed = squareform(distances, checks=False)
    tree = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    return [int(index) for index in leaves_list(tree)]


def draw_heat_map(matrix: SimilarityMatrix, path: Path, plan: "SourcePlan | None" = None) -> None:
    """Plots the matrix, clustered; with a plan the target and its sources are marked.

    Args:
        matrix: similarity matrix.
        path: output file, ``.svg``, ``.png`` or ``.pdf``.
        plan: source plan of a target.

    Raises:
        UserError: an unsupported format, or an existing file.
    """
    check_format(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    order = clustered_order(matrix)
    tags = [matrix.locales[index] for index in order]
    values = matrix.values[np.ix_(order, order)]
    others = values[~np.eye(len(tags), dtype=bool)]
    side = max(5.0, 0.19 * len(tags) + 1.6)
    figure = Figure(figsize=(side + 1.4, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    # The diagonal is 1 and would dominate the color scale.
    low, high = (float(others.min()), float(others.max())) if others.size else (0.0, 1.0)
    image = axes.imshow(values, cmap="cividis", vmin=low, vmax=high, interpolation="nearest")
    names = [f"{locale(tag).name}  {tag}" if is_language(tag) else tag for tag in tags]
    axes.set_xticks(range(len(tags)), tags, rotation=90, fontsize=7.5)
    axes.set_yticks(range(len(tags)), names, fontsize=7.5)
    axes.tick_params(length=0, pad=2)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Similarity of {len(tags)} locales by {matrix.origin}", loc="left", fontsize=12)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.015)
    bar.set_label("similarity", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    if plan is not None and plan.target in tags:
        row = tags.index(plan.target)
        for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
            labels[row].set_fontweight("bold")
        for source in plan.sources:
            corner = (tags.index(source) - 0.4, row - 0.4)
            halo = [withStroke(linewidth=3.2, foreground="white")]  # visible in grayscale on any cell
            axes.add_patch(
                Rectangle(
                    corner, 0.8, 0.8, fill=False, edgecolor="black", linewidth=1.6, clip_on=False, path_effects=halo
                )
            )
        axes.set_xlabel(f"boxed: the sources of {plan.target}", fontsize=9)
    # No dates and random ids in the file, for reproducible output.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    with rc_context({"svg.hashsalt": "mu-lightning"}), atomic_file(path, replace=False) as temporary:
        figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=160, metadata=metadata)
