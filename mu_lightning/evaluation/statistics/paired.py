"""Two classifiers on one target: McNemar's exact test, with its effect sizes."""

from dataclasses import dataclass
from functools import cache

import numpy as np


@dataclass(frozen=True)
class McNemar:
    """Where two classifiers disagree, and whether one is right more often there.

    Attributes:
        only_first: rows that only the first classified right.
        only_second: rows that only the second classified right.
        odds_ratio: ``only_first / only_second``: above 1 the first is better; infinite or NaN where the second is 0.
        cohens_g: ``only_first / (only_first + only_second) - 0.5``, -0.5 to 0.5; 0.05 is small, 0.15 medium, 0.25 large
            (Cohen 1988).
        p_value: two-sided and exact: under the null hypothesis each disagreement is a fair coin.
    """

    only_first: int
    only_second: int
    odds_ratio: float
    cohens_g: float
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test of two classifiers' right answers on the same rows.

    McNemar 1947 (https://doi.org/10.1007/BF02295996); for classifiers Dietterich 1998.

    Args:
        first: 1 or true where the first classifier was right, (rows,).
        second: the same of the second.

    Raises:
        ValueError: the arrays differ in length, or hold something between right and wrong.
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
    """Two-sided exact p-value; a report asks for the same few counts thousands of times."""
    from scipy.stats import binomtest

    return float(binomtest(heads, throws).pvalue)
