"""Methods over many targets: Wilcoxon's signed ranks with Holm, wins and losses, Friedman with Nemenyi.

The tests' observations are targets, so they speak of languages like these; the bootstrap of `resampling` speaks of
these languages and of utterances like theirs. Why these tests: Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Accuracies are ratios of whole numbers and means of such: what differs by less than this differs by rounding alone.
TIE = 1e-9


@dataclass(frozen=True)
class SignedRanks:
    """Wilcoxon's signed-rank test of a method's differences to another over targets.

    Attributes:
        mean: mean difference.
        median: median difference.
        wins: targets on which the first is better.
        ties: targets on which they are equal.
        losses: targets on which it is worse.
        rank_biserial: the effect size: share of the ranks that are the first's minus share that are the other's, -1 to
            1 (Kerby 2014, https://doi.org/10.2466/11.IT.3.1).
        p_value: two-sided; exact up to 50 targets without ties or zeros, a normal approximation otherwise.
    """

    mean: float
    median: float
    wins: int
    ties: int
    losses: int
    rank_biserial: float
    p_value: float


def signed_ranks(differences: Sequence[float]) -> SignedRanks:
    """Compares two methods over targets from the difference on each, (targets,)."""
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
    """Adjusts p-values of several tests so that the chance of any false alarm among them stays below the level.

    Holm 1979. NaN stands for a test that was not made: it stays and is not counted.
    """
    # statsmodels' multipletests gives the same; it takes 0.2 s a call, and a report makes hundreds.
    values = np.array(p_values, dtype=float)  # a copy: the caller keeps its own
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(factors * values[order]), 1.0)
    return [float(value) for value in values]


@dataclass(frozen=True, eq=False)
class Ranking:
    """Methods ranked on each target, and which of them differ.

    Attributes:
        methods: the methods, the best mean rank first.
        mean_ranks: method -> mean rank over targets, 1 the best; ties share their ranks' mean.
        targets: number of targets.
        kendalls_w: the effect size: agreement of the targets on the ranking, 0 to 1.
        statistic: Friedman's chi-squared, corrected for ties.
        p_value: of Friedman's test that all methods are equal.
        pairwise: Nemenyi's p-values, (methods, methods), in the order of `methods`.
        critical_difference: mean ranks further apart than this differ at the 5 % level.
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
    """Friedman's test over targets, and Nemenyi's after it.

    Args:
        methods: names of the columns.
        accuracies: (targets, methods), without gaps.
        alpha: level of the critical difference.

    Raises:
        ValueError: fewer than three methods or two targets, or a gap.
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
        statistic, p_value = 0.0, 1.0  # nothing differs: the test's own formula would divide by 0
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
