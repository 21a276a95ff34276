"""Rank correlations and their intervals, against SciPy and against a plain loop."""

import numpy as np
import pytest
from scipy import stats

from mu_lightning.evaluation.correlation import cosines, spearman, spearman_interval

RANDOM = np.random.default_rng(2)
SCORES = RANDOM.integers(0, 11, size=150) / 2  # with many ties, as people's scores have
SIMILARITIES = SCORES / 5 + RANDOM.normal(size=150)


def test_spearman_is_scipys() -> None:
    assert spearman(SIMILARITIES, SCORES) == pytest.approx(stats.spearmanr(SIMILARITIES, SCORES).statistic, abs=1e-12)
    assert spearman(-SCORES, SCORES) == pytest.approx(-1)


def test_a_constant_has_no_rank_correlation() -> None:
    assert np.isnan(spearman(np.ones(9), SCORES[:9]))


def test_cosines_are_row_by_row() -> None:
    first, second = RANDOM.normal(size=(2, 5, 7))
    expected = [one @ other / (np.linalg.norm(one) * np.linalg.norm(other)) for one, other in zip(first, second)]  # noqa: B905
    assert cosines(first, second) == pytest.approx(expected)


def test_the_interval_is_that_of_a_plain_bootstrap_and_holds_the_correlation() -> None:
    low, high = spearman_interval(SIMILARITIES, SCORES)
    draws = [RANDOM.integers(150, size=150) for _ in range(1000)]
    plain = [stats.spearmanr(SIMILARITIES[rows], SCORES[rows]).statistic for rows in draws]
    assert low < spearman(SIMILARITIES, SCORES) < high
    assert (low, high) == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.03)
    assert spearman_interval(SIMILARITIES, SCORES) == (low, high)
    assert spearman_interval(SIMILARITIES, SCORES, seed=1) != (low, high)
