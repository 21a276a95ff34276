"""Comparison of methods over many targets: Wilcoxon signed-rank with Holm, wins and losses, Friedman with Nemenyi.

The observations of these tests are targets: they generalize to similar languages, whereas the bootstrap of `resampling`
generalizes to similar utterances of the same languages. See Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Accuracies are means of ratios of integers: smaller differences are rounding errors.
TIE = 1e-9


@dataclass(frozen=True)
class SignedRanks:
    """Result of a Wilcoxon signed-rank test of two methods over targets.

    Attributes:
        mean: mean difference.
        median: median difference.
        wins: number of targets on which the first method is better.
        ties: number of targets on which both are equal.
        losses: number of targets on which the first method is worse.
        rank_biserial: effect size: rank share of the first minus rank share of the second method, -1 to
            1 (Kerby 2014, https://doi.org/10.2466/11.IT.3.1).
        p_value: two-sided p-value; exact up to 50 targets without ties or zeros, else a normal approximation.
    """

    mean: float
    median: float
    wins: int
    ties: int
    losses: int
    rank_biserial: float
    p_value: float


def signed_ranks(differences: Sequence[float]) -> SignedRanks:
    """Compares two methods over targets by their differences, (targets,)."""
    from scipy.stats import rankdata, wilcoxon

    values = np.asarray(differences, dtype=float)
    values = np.where(np.abs(values) < TIE, 0.0, values)
    kept = np.round(values[values != 0], 12)  # so that equal differences tie
    wins, losses = int((values > 0).sum()), int((values < 0).sum())
    effect, p_value = 0.0, 1.0
    if kept.size:
        ranks = rankdata(np.abs(kept))
        effect = float((ranks[kept > 0].sum() - ranks[kept < 0].sum()) / ranks.sum())
        p_value = float(wilcoxon(kept).pvalue)
    return SignedRanks(
        float(values.mean()), float(np.median(values)), wins, len(values) - wins - losses, losses, effect, p_value
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values by Holm's method (1979), which controls the family-wise error rate.

    NaN marks a test that was not performed; it is not counted.
    """
    # statsmodels' multipletests is equivalent but takes 0.2 s per call; reports make hundreds of calls.
    values = np.array(p_values, dtype=float)  # do not modify the input
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return [float(value) for value in values]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Result of Friedman's and Nemenyi's tests.

    Attributes:
        methods: methods, sorted by mean rank.
        mean_ranks: method -> mean rank over targets, 1 is best; ties have mean ranks.
        targets: number of targets.
        kendalls_w: effect size: agreement of the rankings over targets, 0 to 1.
        statistic: Friedman's chi-squared, corrected for ties.
        p_value: p-value of Friedman's test.
        pairwise: p-values of Nemenyi's test, (methods, methods), in the order of `methods`.
        critical_difference: minimum difference of mean ranks that is significant at the 5 % level.
    """

    methods: tuple[str, ...]
    mean_ranks: dict[str, float]
    targets: int
    kendalls_w: float
    statistic: float
    p_value: float
    pairwise: np.ndarray
    critical_difference: float


def rank_methods(methods: Sequence[str], accuracies: np.ndarray, alpha: float = 0.05) -> Ranking:
    """Friedman's test over targets with Nemenyi's post-hoc test.

    Args:
        methods: names of the columns.
        accuracies: array of shape (targets, methods), without missing values.
        alpha: significance level of the critical difference.

    Raises:
        ValueError: fewer than three methods or two targets, or missing values.
    """
    import scikit_posthocs
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    targets, count = accuracies.shape
    if count < 3 or targets < 2 or not np.isfinite(accuracies).all():
        raise ValueError(
            f"Friedman's test needs at least 3 methods and 2 targets without gaps, not {count} and {targets}"
        )
    rounded = np.round(accuracies, 9)
    means = rankdata(-rounded, axis=1).mean(axis=0)
    if (rounded == rounded[:, :1]).all():
        statistic, p_value = 0.0, 1.0  # all equal: the formula would divide by 0
    else:
        found = friedmanchisquare(*rounded.T)
        statistic, p_value = float(found.statistic), float(found.pvalue)
    order = [int(place) for place in np.argsort(means, kind="stable")]
    pairwise = scikit_posthocs.posthoc_nemenyi_friedman(rounded).to_numpy()
    quantile = float(studentized_range.ppf(1 - alpha, count, np.inf)) / np.sqrt(2)
    return Ranking(
        tuple(methods[place] for place in order),
        {methods[place]: float(means[place]) for place in order},
        targets,
        statistic / (targets * (count - 1)),
        statistic,
        p_value,
        pairwise[np.ix_(order, order)],
        float(quantile * np.sqrt(count * (count + 1) / (6 * targets))),
    )
