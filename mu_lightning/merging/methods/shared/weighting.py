"""How the sources' weights enter a sum: as a mean, as the paper's sum, or as they are."""

import math
from collections.abc import Sequence
from typing import Any

from mu_lightning.utilities.errors import UserError

MEAN = "mean"
SUM = "sum"
RAW = "raw"
WEIGHTING_HELP = "sum: weights average 1, so equal ones give the paper's plain sum; mean: they sum to 1; raw: as given"


def scaled_weights(weights: Sequence[float], weighting: str) -> list[float]:
    """The factors of a weighted sum over sources.

    Args:
        weights: the sources' merge weights.
        weighting: ``mean`` divides by their sum; ``sum`` makes the factors average 1, so that equal weights give the
            plain sum of the papers; ``raw`` leaves them.

    Raises:
        UserError: the weights sum to zero and are to be divided by their sum.
    """
    if weighting == RAW:
        return [float(weight) for weight in weights]
    total = math.fsum(weights)
    if abs(total) < 1e-12:
        raise UserError("the merge weights sum to 0: nothing to normalise by (give other weights, or weighting raw)")
    factor = len(weights) / total if weighting == SUM else 1.0 / total
    return [float(weight) * factor for weight in weights]


def moved(anchor: Any, sources: Sequence[Any], factors: Sequence[float]) -> Any:
    """A tensor, or an array of numpy's, moved towards others of its shape: x − Σ f_i (x − s_i).

    Where the others equal it, it comes back bit for bit whatever rounding the factors carry: every difference is then
    +0, and so is their sum, since that starts at +0 (which keeps even a −0 of the anchor). It is written in operators
    alone, so that torch and numpy round alike.

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
