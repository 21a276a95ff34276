"""Weighting of the sources: mean, sum or raw."""

import math
from collections.abc import Sequence
from typing import Any

from mu_lightning.utilities.errors import UserError

MEAN = "mean"
SUM = "sum"
RAW = "raw"
WEIGHTING_HELP = "sum: weights average to 1 (equal weights give the paper's sum); mean: weights sum to 1; raw: as given"


def scaled_weights(weights: Sequence[float], weighting: str) -> list[float]:
    """Scales merge weights to the factors of a weighted sum.

    Args:
        weights: merge weights of the sources.
        weighting: ``mean`` normalizes the weights to sum to 1; ``sum`` normalizes them to average to 1, so that equal
            weights give the unweighted sum of the papers; ``raw`` does not change them.

    Raises:
        UserError: the weights sum to zero and cannot be normalized.
    """
    if weighting == RAW:
        return [float(weight) for weight in weights]
    total = math.fsum(weights)
    if abs(total) < 1e-12:
        raise UserError("the merge weights sum to 0 and cannot be normalized: change the weights or use weighting=raw")
    factor = len(weights) / total if weighting == SUM else 1.0 / total
    return [float(weight) * factor for weight in weights]


def moved(anchor: Any, sources: Sequence[Any], factors: Sequence[float]) -> Any:
    """Computes x − Σ f_i (x − s_i) for tensors or NumPy arrays.

    Elements where all sources equal x are preserved exactly, including −0: every difference is +0, and so is the sum.
    The function uses operators only, so that torch and NumPy round alike.

    Args:
        anchor: x.
        sources: the s_i.
        factors: the f_i.
    """
    total = anchor - anchor
    for source, factor in zip(sources, factors, strict=True):
        difference = anchor - source
        difference *= factor
        total += difference
    return anchor - total
