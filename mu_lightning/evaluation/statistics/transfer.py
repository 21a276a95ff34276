"""Correlation of typological similarity with cross-lingual transfer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Explained:
    """Result of correlating similarity with transfer over targets.

    Attributes:
        by_target: target -> Spearman's rank correlation of similarity and transfer over its sources; targets with fewer
            than three sources, or without variation, are excluded.
        mean: mean over targets.
        interval: 95 % percentile bootstrap interval of the mean, over targets.
        positive: number of targets with a positive correlation.
        p_value: one-sided p-value of a Mantel permutation test (1967), which permutes the languages of the
            similarities. NaN with fewer than four languages that are both source and target.
    """

    by_target: dict[str, float]
    mean: float
    interval: tuple[float, float]
    positive: int
    p_value: float


def explained(
    similarity: np.ndarray,
    transfer: np.ndarray,
    sources: Sequence[str],
    targets: Sequence[str],
    draws: int = 2000,
    seed: int = 0,
) -> Explained:
    """Rank correlation of similarity with transfer accuracy for each target.

    Args:
        similarity: array of shape (sources, targets); NaN for missing values.
        transfer: accuracy of each source model on each target, (sources, targets); NaN for missing values.
        sources: names of the rows.
        targets: names of the columns; a target is never its own source.
        draws: number of bootstrap resamples and of permutations.
        seed: random seed.
    """
    apart = np.array(sources)[:, None] != np.array(targets)[None, :]
    known = apart & np.isfinite(similarity) & np.isfinite(transfer)
    like, gain = _standard_ranks(similarity, known), _standard_ranks(transfer, known)
    correlations = (like * gain).sum(axis=0)
    usable = (np.abs(like).sum(axis=0) > 0) & (np.abs(gain).sum(axis=0) > 0) & (known.sum(axis=0) >= 3)
    by_target = {name: float(correlations[place]) for place, name in enumerate(targets) if usable[place]}
    if not by_target:
        return Explained({}, float("nan"), (float("nan"), float("nan")), 0, float("nan"))
    generator = np.random.default_rng(seed)
    values = np.array(list(by_target.values()))
    resampled = values[generator.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Explained(
        by_target,
        float(values.mean()),
        (float(low), float(high)),
        int((values > 0).sum()),
        _exchanged(similarity, transfer, sources, targets, draws, generator),
    )


def best_sources(transfer: Mapping[str, float], count: int) -> set[str]:
    """The `count` sources with the highest accuracy on a target, including ties."""
    limit = sorted(transfer.values(), reverse=True)[:count][-1]
    return {name for name, accuracy in transfer.items() if accuracy >= limit}


def precision_at_k(chosen: Collection[str], transfer: Mapping[str, float]) -> float:
    """Precision at k: share of the selected sources that are among the k best.

    Args:
        chosen: the k selected sources.
        transfer: source -> accuracy on the target, for all candidates.

    Returns:
        Precision, 0 to 1; a random selection has k / len(transfer) on average.
    """
    return len(set(chosen) & best_sources(transfer, len(chosen))) / len(chosen)


def _standard_ranks(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Standardized ranks by column, 0 for missing values: inner products are Spearman's rho."""
    from scipy.stats import rankdata

    result = np.zeros(values.shape)
    for column in range(values.shape[1]):
        rows = known[:, column]
        if rows.any():
            ranks = rankdata(np.round(values[rows, column], 12))
            centered = ranks - ranks.mean()
            norm = np.linalg.norm(centered)
            result[rows, column] = centered / norm if norm > 0 else 0.0
    return result


def _exchanged(
    similarity: np.ndarray,
    transfer: np.ndarray,
    sources: Sequence[str],
    targets: Sequence[str],
    draws: int,
    generator: np.random.Generator,
) -> float:
    """One-sided permutation p-value of the mean correlation, for languages that are both source and target."""
    rows, columns = list(sources), list(targets)
    both = [name for name in sources if name in targets]
    # Languages without data are not permuted.
    for values in (similarity, transfer):
        square = np.ix_([rows.index(name) for name in both], [columns.index(name) for name in both])
        known = np.isfinite(values[square]) & ~np.eye(len(both), dtype=bool)
        both = [name for place, name in enumerate(both) if known[place].any() and known[:, place].any()]
    square = np.ix_([rows.index(name) for name in both], [columns.index(name) for name in both])
    apart = ~np.eye(len(both), dtype=bool)
    like, gain = similarity[square], transfer[square]
    complete = np.isfinite(like[apart]).all() and np.isfinite(gain[apart]).all()
    if len(both) < 4 or not complete:
        return float("nan")
    first, second = _standard_ranks(like, apart), _standard_ranks(gain, apart)
    measured = (first * second).sum()
    shuffles = (generator.permutation(len(both)) for _ in range(draws))
    as_high = sum((first[np.ix_(names, names)] * second).sum() >= measured - 1e-9 for names in shuffles)
    return float((as_high + 1) / (draws + 1))
