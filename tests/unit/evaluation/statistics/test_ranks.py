"""Tests over many targets, against scipy, statsmodels and worked examples."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mu_lightning.evaluation.statistics.ranks import holm, rank_methods, signed_ranks

# Demsar 2006, table 6: AUC of four classifiers on fourteen data sets.
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]
)  # fmt: skip
NAMES = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def test_the_signed_ranks_of_an_example_worked_by_hand() -> None:
    # |differences| 1 2 3 4 have ranks 1 2 3 4; the loss has rank 2.
    found = signed_ranks([0.01, -0.02, 0.03, 0.04, 0.0])
    assert (found.wins, found.ties, found.losses) == (3, 1, 1)
    assert found.rank_biserial == pytest.approx((8 - 2) / 10)
    assert found.mean == pytest.approx(0.012)
    assert found.median == 0.01
    # Of 16 sign patterns 3 have a rank sum of at most 2 (none, 1, 2), either way.
    assert found.p_value == pytest.approx(6 / 16)


def test_the_p_value_is_scipys() -> None:
    differences = np.random.default_rng(0).normal(0.02, 0.05, size=20)
    assert signed_ranks(differences).p_value == pytest.approx(stats.wilcoxon(differences).pvalue)


def test_differences_of_rounding_alone_are_ties() -> None:
    found = signed_ranks([0.1 + 0.2 - 0.3, -1e-15, 0.0])
    assert (found.wins, found.ties, found.losses) == (0, 3, 0)
    assert (found.p_value, found.rank_biserial) == (1.0, 0.0)


def test_holm_steps_down_and_passes_over_tests_that_were_not_made() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    adjusted = holm([0.01, float("nan"), 0.04])
    assert (adjusted[0], adjusted[2]) == pytest.approx((0.02, 0.04))
    assert np.isnan(adjusted[1])
    assert holm([]) == []


def test_holm_agrees_with_statsmodels() -> None:
    p_values = np.random.default_rng(0).random(30) ** 3
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_friedman_and_nemenyi_give_demsars_published_figures() -> None:
    found = rank_methods(NAMES, DEMSAR)
    assert {name: round(rank, 3) for name, rank in found.mean_ranks.items()} == {
        "C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143,
    }  # fmt: skip
    assert found.methods == ("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")
    assert found.statistic == pytest.approx(stats.friedmanchisquare(*DEMSAR.T).statistic)
    # His chi-squared is not corrected for ties; from the same mean ranks it is 9.28.
    squares = sum(rank**2 for rank in found.mean_ranks.values())
    assert 12 * 14 / (4 * 5) * (squares - 4 * 5**2 / 4) == pytest.approx(9.28, abs=0.005)
    assert found.kendalls_w == pytest.approx(found.statistic / (14 * 3))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.p_value < 0.05


def test_nemenyis_p_values_and_the_critical_difference_agree() -> None:
    found = rank_methods(NAMES, DEMSAR)
    ranks = list(found.mean_ranks.values())
    for one in range(4):
        for other in range(one + 1, 4):
            apart = ranks[other] - ranks[one] > found.critical_difference
            assert (found.pairwise[one, other] < 0.05) == apart
    assert np.array_equal(found.pairwise, found.pairwise.T)


def test_methods_that_never_differ_share_a_rank() -> None:
    found = rank_methods("abc", np.full((5, 3), 0.7))
    assert set(found.mean_ranks.values()) == {2.0}
    assert (found.p_value, found.kendalls_w) == (1.0, 0.0)


@pytest.mark.parametrize("table", [np.ones((5, 2)), np.ones((1, 3)), np.full((5, 3), np.nan)])
def test_too_few_methods_or_targets_and_gaps_are_refused(table: np.ndarray) -> None:
    with pytest.raises(ValueError, match="at least 3 methods and 2 targets"):
        rank_methods("abc"[: table.shape[1]], table)
