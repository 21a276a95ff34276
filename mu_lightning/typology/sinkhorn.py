"""From similarities to a distribution over neighbors: top-k filter, temperature and Sinkhorn's scaling.

Sinkhorn & Knopp 1967 ("Concerning nonnegative matrices and doubly stochastic matrices", Pacific J. Math. 21): rows and
columns are divided by their sums in turn. So a language that is near to everyone does not weigh most everywhere.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True, eq=False)
class Normalized:
    """A similarity matrix as distributions over neighbors.

    Attributes:
        locales: the tags of rows and columns.
        values: (locales, locales), float64; each row sums to 1, and its own column is 0.
        column_residual: the largest distance of a column's sum from 1: how far the matrix is from doubly stochastic.
            With a small k it stays large, since a locale that is in nobody's k nearest has a column of zeros.
    """

    locales: tuple[str, ...]
    values: np.ndarray
    column_residual: float


def normalize(
    similarity: SimilarityMatrix,
    top_k: int,
    iterations: int,
    temperature: float = 1.0,
    keep: Mapping[str, Collection[str]] | None = None,
) -> Normalized:
    """Filters each row to its nearest neighbors and scales rows and columns in turn.

    Args:
        similarity: the matrix; a locale's similarity to itself is left out.
        top_k: how many of the largest values of each row are kept, at equality the locale that stands first.
        iterations: rounds of dividing rows, then columns, by their sums. The rows are divided once more at the end.
        temperature: kept similarities enter as s^(1 / temperature): below 1 the nearest count for more, above 1 all
            count more alike, 1 leaves them as they are.
        keep: for a row, further locales that are kept whether or not they are among its nearest.

    Returns:
        Rows that sum to 1 within rounding.

    Raises:
        UserError: a setting out of range, fewer than two locales, or a row without any positive similarity.
    """
    if top_k < 1:
        raise UserError(f"top-k must be at least 1, not {top_k}")
    if iterations < 0:
        raise UserError(f"the number of Sinkhorn iterations must not be negative, as {iterations} is")
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"the temperature must be a positive number, not {temperature}")
    if len(similarity.locales) < 2:
        raise UserError(
            f"similarity matrix {similarity.origin} has only {similarity.locales[0]}: there is no neighbor to weigh"
        )
    kept = np.where(_kept(similarity, top_k, keep or {}), similarity.values, 0.0)
    largest = kept.max(axis=1, keepdims=True)
    if not largest.all():
        row = similarity.locales[int(np.argmin(largest))]
        raise UserError(f"similarity matrix {similarity.origin}: row {row} has no neighbor with a positive similarity")
    # Relative to the row's largest, so that a low temperature cannot underflow a whole row; the factor cancels.
    values = (kept / largest) ** (1.0 / temperature)
    for _ in range(iterations):
        values = values / values.sum(axis=1, keepdims=True)
        columns = values.sum(axis=0, keepdims=True)
        values = values / np.where(columns > 0, columns, 1.0)  # a column that nobody kept stays 0
    values = values / values.sum(axis=1, keepdims=True)
    return Normalized(similarity.locales, values, float(np.abs(values.sum(axis=0) - 1.0).max()))


def _kept(similarity: SimilarityMatrix, top_k: int, keep: Mapping[str, Collection[str]]) -> np.ndarray:
    count = len(similarity.locales)
    others = similarity.values.copy()
    np.fill_diagonal(others, -np.inf)
    order = np.argsort(-others, axis=1, kind="stable")[:, : min(top_k, count - 1)]
    kept = np.zeros((count, count), dtype=bool)
    np.put_along_axis(kept, order, True, axis=1)
    for row, tags in keep.items():
        for tag in tags:
            kept[similarity.index(row), similarity.index(tag)] = True
    np.fill_diagonal(kept, False)
    return kept
