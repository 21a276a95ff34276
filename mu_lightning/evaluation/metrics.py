"""Metrics of predictions: pure functions of arrays."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DRAWS = 2000
BINS = 15  # of confidence


@dataclass(frozen=True)
class Scores:
    """Scores of a model on one locale's split; arrays have one entry per row.

    Attributes:
        locale: tag of the locale.
        ids: row ids.
        labels: gold label indices.
        predictions: predicted label indices.
        accuracy: share of rows predicted right, 0 to 1; NaN where rows have no labels, or there are none.
        macro_f1: mean F1 over the labels that occur in gold or prediction, 0 to 1; or NaN.
        interval: 95 % percentile-bootstrap interval of the accuracy over rows; or NaN.
        calibration_error: expected calibration error, 0 to 1; None where no confidences were collected.
    """

    locale: str
    ids: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    accuracy: float
    macro_f1: float
    interval: tuple[float, float]
    calibration_error: float | None = None

    @property
    def scored(self) -> bool:
        """Whether there were labels to score against."""
        return not math.isnan(self.accuracy)

    def summary(self) -> dict[str, Any]:
        """The numbers without the arrays, as plain values; None for what was not scored."""
        arrays = ("ids", "labels", "predictions")
        values = {name: value for name, value in asdict(self).items() if name not in arrays} | {"rows": len(self.ids)}
        if self.calibration_error is None:
            del values["calibration_error"]
        return values if self.scored else values | dict.fromkeys(("accuracy", "macro_f1", "interval"))


def score(
    locale: str, ids: np.ndarray, labels: np.ndarray, predictions: np.ndarray, confidences: np.ndarray | None = None
) -> Scores:
    """Scores predictions against gold labels, each of shape (rows,); labels of -1, or none, cannot be scored.

    Args:
        locale: the locale's tag.
        ids: the rows' ids.
        labels: gold label indices.
        predictions: predicted label indices.
        confidences: their probabilities, to compute the calibration error from.
    """
    if not len(labels) or labels.min() < 0:
        return Scores(locale, ids, labels, predictions, math.nan, math.nan, (math.nan, math.nan))
    return Scores(
        locale, ids, labels, predictions, accuracy(labels, predictions), macro_f1(labels, predictions),
        bootstrap_interval(labels == predictions),
        None if confidences is None else calibration_error(confidences, labels == predictions),
    )  # fmt: skip


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Accuracy: share of equal entries."""
    return float(np.mean(labels == predictions))


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Macro F1 over labels that occur in `labels` or `predictions`, as in scikit-learn."""
    size = int(max(labels.max(), predictions.max())) + 1
    right = np.bincount(labels[labels == predictions], minlength=size)
    support = np.bincount(labels, minlength=size) + np.bincount(predictions, minlength=size)
    present = support > 0
    return float(np.mean(2 * right[present] / support[present]))


def bootstrap_interval(
    right: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of a 0/1 array over rows (Efron 1979).

    The number of correct rows in a resample is binomial and sampled directly, which is exact and fast.
    """
    rows = len(right)
    means = np.random.default_rng(seed).binomial(rows, float(np.mean(right)), size=draws) / rows
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def calibration_error(confidences: np.ndarray, right: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error: the mean distance of confidence and accuracy over bins of confidence, 0 to 1.

    Guo et al., 2017, On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599

    Args:
        confidences: the probability of each row's predicted label, shape (rows,).
        right: whether it was predicted right, shape (rows,).
        bins: bins of equal width over 0 to 1; a bin counts by its rows.
    """
    places = np.minimum((confidences * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    gaps = np.abs(
        np.bincount(places, weights=confidences, minlength=bins) - np.bincount(places, weights=right, minlength=bins)
    )
    return float(gaps.sum() / counts.sum())
