"""McNemar's exact test."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference

from mu_lightning.evaluation.statistics.paired import mcnemar


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_statsmodels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = generator.random(80) < 0.7, generator.random(80) < 0.6
    table = [[int((one & other).sum()) for other in (second, ~second)] for one in (first, ~first)]
    assert mcnemar(first, second).p_value == pytest.approx(reference(table, exact=True).pvalue)


def test_a_table_worked_by_hand() -> None:
    first = np.array([1] * 9 + [0] * 1 + [1] * 5)
    second = np.array([0] * 9 + [1] * 1 + [1] * 5)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (9, 1)
    assert found.odds_ratio == 9
    assert found.cohens_g == pytest.approx(0.4)
    assert found.p_value == pytest.approx(2 * (1 + 10) / 2**10)  # P(at most 1 of 10 coins), both tails


def test_classifiers_that_agree_everywhere_do_not_differ() -> None:
    found = mcnemar(np.ones(5), np.ones(5))
    assert (found.p_value, found.cohens_g) == (1.0, 0.0)
    assert np.isnan(found.odds_ratio)
    assert mcnemar(np.ones(5), np.zeros(5)).odds_ratio == np.inf


def test_rows_that_differ_and_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="same rows"):
        mcnemar(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="right"):
        mcnemar(np.array([0.5, 1.0]), np.ones(2))
