"""Comparison of two classifiers on one target: McNemar's exact test with effect sizes."""

from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's exact test.

    Attributes:
        only_first: number of rows that only the first classifier got right.
        only_second: number of rows that only the second classifier got right.
        odds_ratio: ``only_first / only_second``: above 1 if the first is better; infinite or NaN for division by 0.
        cohens_g: ``only_first / (only_first + only_second) - 0.5``, -0.5 to 0.5; 0.05 is small, 0.15 medium, 0.25 large
            (Cohen 1988).
        p_value: two-sided exact p-value (binomial test of the disagreements).
    """

    only_first: int
    only_second: int
    odds_ratio: float
    cohens_g: float
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test of two classifiers on the same rows.

    McNemar 1947 (https://doi.org/10.1007/BF02295996); for classifiers Dietterich 1998.

    Args:
        first: correctness of the first classifier, (rows,).
        second: correctness of the second classifier, (rows,).

    Raises:
        ValueError: the arrays differ in length, or are not binary.
    """
    if first.shape != second.shape:
        raise ValueError(f"McNemar's test needs the same rows of both classifiers, not {len(first)} and {len(second)}")
    if not np.isin(np.concatenate([first, second]), (0, 1)).all():
        raise ValueError("McNemar's test takes right (1) and wrong (0) alone")
    one, other = first.astype(bool), second.astype(bool)
    only_first, only_second = int((one & ~other).sum()), int((other & ~one).sum())
    apart = only_first + only_second
    if not apart:
        return McNemar(0, 0, float("nan"), 0.0, 1.0)
    return McNemar(
        only_first,
        only_second,
        only_first / only_second if only_second else float("inf"),
        only_first / apart - 0.5,
        _fair_coin(only_first, apart),
    )


@cache
def _fair_coin(heads: int, throws: int) -> float:
    """Two-sided exact p-value, cached: reports need the same counts many times."""
    from scipy.stats import binomtest

    return float(binomtest(heads, throws).pvalue)
