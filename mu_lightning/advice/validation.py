"""How well a model of transfer predicts languages that it has not seen."""

from dataclasses import dataclass

import numpy as np

from mu_lightning.advice.pairs import FEATURES
from mu_lightning.advice.transfer_model import TransferModel, intervals
from mu_lightning.evaluation.statistics.transfer import explained, precision_at_k
from mu_lightning.settings import DEFAULT_FEATURE_SET


@dataclass(frozen=True)
class Ranking:
    """Quality of a ranking of sources.

    Attributes:
        correlation: mean over targets of Spearman's correlation with the measured accuracies.
        precision: mean precision at the number of selected sources, 0 to 1.
    """

    correlation: float
    precision: float


@dataclass(frozen=True)
class Validation:
    """Predictions for languages that are left out, as source and as target, beside the matrix.

    Attributes:
        size: number of selected sources.
        targets: number of targets.
        error: mean absolute error of the accuracies, 0 to 1.
        inside: share of the accuracies inside their intervals, 0 to 1; a target's intervals are computed without it.
        model: ranking by predicted accuracy.
        similarity: ranking by similarity of the default feature set, for comparison.
    """

    size: int
    targets: int
    error: float
    inside: float
    model: Ranking
    similarity: Ranking


def validate(model: TransferModel, size: int) -> Validation:
    """Leaves out each language in turn and compares the predictions of its column with the matrix.

    Args:
        model: the model.
        size: number of selected sources, for the precision.
    """
    errors = model.accuracy - model.left_out
    inside = []
    for column in range(len(model.targets)):
        rows = np.isfinite(errors[:, column])
        others = [other for other in range(len(model.targets)) if other != column]
        bounds = intervals(model.left_out[rows, column], model.left_out[:, others], errors[:, others])
        measured = model.accuracy[rows, column]
        inside += ((bounds[:, 0] <= measured) & (measured <= bounds[:, 1])).tolist()
    return Validation(
        size,
        len(model.targets),
        float(np.nanmean(np.abs(errors))),
        float(np.mean(inside)),
        ranking(model, model.left_out, size),
        ranking(model, model.features[..., FEATURES.index(DEFAULT_FEATURE_SET)], size),
    )


def ranking(model: TransferModel, scores: np.ndarray, size: int) -> Ranking:
    """Compares a ranking of the sources of all targets with the matrix.

    Args:
        model: has the accuracies.
        scores: score of each source for each target, shape (sources, targets); NaN for missing values.
        size: number of selected sources; targets with a missing score have no precision.
    """
    precisions = []
    for column in range(len(model.targets)):
        rows = np.flatnonzero(np.isfinite(model.accuracy[:, column]))
        if len(rows) > size and np.isfinite(scores[rows, column]).all():
            best = rows[np.argsort(-scores[rows, column], kind="stable")[:size]]
            measured = {model.sources[row]: float(model.accuracy[row, column]) for row in rows}
            precisions.append(precision_at_k([model.sources[row] for row in best], measured))
    correlation = explained(scores, model.accuracy, model.sources, model.targets, draws=1).mean
    return Ranking(correlation, float(np.mean(precisions)) if precisions else float("nan"))
