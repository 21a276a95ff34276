"""Normalizes similarities to distributions over neighbors: top-k filter, temperature and Sinkhorn normalization.

Sinkhorn & Knopp 1967 ("Concerning nonnegative matrices and doubly stochastic matrices", Pacific J. Math. 21): rows and
columns are alternately divided by their sums, so that a language that is similar to all others does not dominate.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True, eq=False)
class Normalized:
    """A normalized similarity matrix: distributions over neighbors.

    Attributes:
        locales: tags of rows and columns.
        values: array of shape (locales, locales), float64; rows sum to 1, the diagonal is 0.
        column_residual: maximum distance of a column sum from 1 (0 for a doubly stochastic matrix). It is large for a
            small k, because a locale that is not among the k nearest of any other has a column of zeros.
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
    """Keeps the nearest neighbors in each row and alternately normalizes rows and columns.

    Args:
        similarity: similarity matrix; the diagonal is ignored.
        top_k: number of neighbors to keep in each row; ties are resolved by the order of the matrix.
        iterations: number of row and column normalizations, followed by a final row normalization.
        temperature: similarities are raised to 1 / temperature: values below 1 sharpen the distribution, values above 1
            flatten it.
        keep: further neighbors to keep, by row.

    Returns:
        The normalized matrix; rows sum to 1 up to rounding.

    Raises:
        UserError: a setting out of range, fewer than two locales, or a row without any positive similarity.
    """
    if top_k < 1:
        raise UserError(f"top-k must be at least 1, not {top_k}")
    if iterations < 0:
        raise UserError(f"the number of Sinkhorn iterations must not be negative, as {iterations} is")
    check_temperature(temperature)
    if len(similarity.locales) < 2:
        raise UserError(
            f"similarity matrix {similarity.origin} has only {similarity.locales[0]}: there is no neighbor to weigh"
        )
    kept = np.where(_kept(similarity, top_k, keep or {}), similarity.values, 0.0)
    largest = kept.max(axis=1, keepdims=True)
    if not largest.all():
        row = similarity.locales[int(np.argmin(largest))]
        raise UserError(f"similarity matrix {similarity.origin}: row {row} has no neighbor with a positive similarity")
    # Relative to the row maximum, to avoid underflow at low temperatures; the factor cancels.
    values = (kept / largest) ** (1.0 / temperature)
    for _ in range(iterations):
        values = values / values.sum(axis=1, keepdims=True)
        columns = values.sum(axis=0, keepdims=True)
        values = values / np.where(columns > 0, columns, 1.0)  # columns without neighbors stay 0
    values = values / values.sum(axis=1, keepdims=True)
    return Normalized(similarity.locales, values, float(np.abs(values.sum(axis=0) - 1.0).max()))


def check_temperature(temperature: float | None) -> float:
    """Returns a temperature; raises UserError unless it is a positive, finite number."""
    if temperature is None or not (math.isfinite(temperature) and temperature > 0):
        raise UserError(f"the temperature must be a positive number, not {temperature}")
    return temperature


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
