"""Rank correlation of similarities with human judgments: pure functions of arrays."""

import numpy as np

from mu_lightning.evaluation.metrics import DRAWS


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Row-wise cosine similarity of two arrays of shape (rows, width)."""
    return np.einsum("rw,rw->r", first, second) / (np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1))


def spearman(similarities: np.ndarray, scores: np.ndarray) -> float:
    """Spearman's rank correlation of two arrays of shape (rows,), with mean ranks for ties; NaN for constant input."""
    return float(_correlations(similarities[None], scores[None])[0])


def spearman_interval(
    similarities: np.ndarray, scores: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap interval of Spearman's rank correlation over pairs (Efron 1979)."""
    random = np.random.default_rng(seed)
    found = []
    for start in range(0, draws, 200):  # in chunks, to limit memory
        rows = random.integers(len(scores), size=(min(200, draws - start), len(scores)))
        found.append(_correlations(similarities[rows], scores[rows]))
    low, high = np.nanquantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation along the last axis of two arrays of shape (draws, rows)."""
    from scipy.stats import rankdata

    ranks = [rankdata(values, axis=-1) for values in (first, second)]
    one, other = (values - values.mean(axis=-1, keepdims=True) for values in ranks)
    sizes = np.sqrt((one**2).sum(axis=-1) * (other**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return (one * other).sum(axis=-1) / sizes
