"""A model of transfer: the accuracy of a source model on another language, learned from an N-by-N matrix.

Ridge regression (Hoerl and Kennard 1970, https://doi.org/10.2307/1267351) on features of pairs (`pairs.FEATURES`) and
the strength of the source: how much better than average its model is on other languages.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from mu_lightning.advice.pairs import pair_features
from mu_lightning.advice.profiles import Profile
from mu_lightning.advice.regression import Regression
from mu_lightning.results.matrix import NByN
from mu_lightning.utilities.errors import UserError

LEAST = 6  # sources and targets in the matrix
LEVEL = 0.95
_GROUPS = 3  # by predicted rank, for intervals


class TransferModel:
    """Predicts the accuracy of source models on a language that is not in the matrix.

    Args:
        matrix: the N-by-N matrix.
        texts: tag -> profile, for languages of the matrix with text.
        without: languages to leave out, as source and as target.
        use: features to use, boolean, shape (`FEATURES`,); default: all.

    Raises:
        UserError: fewer than `LEAST` sources or targets.

    Attributes:
        sources: the sources that are left.
        targets: the targets that are left.
        accuracy: accuracies, shape (sources, targets); NaN for a target's own model and missing values.
        features: features of the pairs, shape (sources, targets, `FEATURES`).
    """

    def __init__(
        self,
        matrix: NByN,
        texts: Mapping[str, Profile],
        without: Sequence[str] = (),
        use: np.ndarray | None = None,
    ) -> None:
        apart = np.array(matrix.sources)[:, None] != np.array(matrix.locales)[None, :]
        there = apart & np.isfinite(matrix.accuracy)  # an unfinished matrix lacks rows
        rows = [place for place, tag in enumerate(matrix.sources) if tag not in without and there[place].any()]
        columns = [place for place, tag in enumerate(matrix.locales) if tag not in without and there[rows, place].any()]
        if min(len(rows), len(columns)) < LEAST:
            raise UserError(
                f"the N-by-N matrix in {matrix.folder} has {len(rows)} sources and {len(columns)} locales"
                f"{f' without {without[0]}' if without else ''}: a model of transfer needs at least {LEAST} of each"
            )
        self.sources = tuple(matrix.sources[row] for row in rows)
        self.targets = tuple(matrix.locales[column] for column in columns)
        self.accuracy = np.where(there, matrix.accuracy, np.nan)[np.ix_(rows, columns)]
        self.features = pair_features(self.sources, self.targets, texts)
        if use is not None:
            self.features[..., ~use] = np.nan

    def predict(self, features: np.ndarray, sources: Sequence[str]) -> np.ndarray:
        """Predicts accuracies, shape (pairs,).

        Args:
            features: features of pairs of a source and a target, shape (pairs, `FEATURES`).
            sources: source of each pair; one that is not in the matrix has no known strength.
        """
        strength = dict(zip(self.sources, _strength(self.accuracy), strict=True))
        known = [strength.get(tag, np.nan) for tag in sources]
        return self._regression(self.accuracy, self.features).predict(np.column_stack([features, known]))

    def intervals(self, predicted: np.ndarray) -> np.ndarray:
        """Intervals for the predictions of a target, shape (pairs, 2): left-out errors at similar predicted ranks."""
        return intervals(predicted, self.left_out, self.accuracy - self.left_out)

    @cached_property
    def left_out(self) -> np.ndarray:
        """Predictions for each target without its row and column, shape (sources, targets); NaN for its own model."""
        result = np.full(self.accuracy.shape, np.nan)
        for column, target in enumerate(self.targets):
            rows = [row for row, source in enumerate(self.sources) if source != target]
            columns = [other for other in range(len(self.targets)) if other != column]
            known = self.accuracy[np.ix_(rows, columns)]
            model = self._regression(known, self.features[np.ix_(rows, columns)])
            asked = np.column_stack([self.features[rows, column], _strength(known)])
            result[rows, column] = model.predict(asked)
        return np.where(np.isfinite(self.accuracy), result, np.nan)

    def _regression(self, accuracy: np.ndarray, features: np.ndarray) -> Regression:
        pairs = np.isfinite(accuracy)
        return Regression(np.dstack([features, _strength_by_pair(accuracy)])[pairs], accuracy[pairs])


def _relative(accuracy: np.ndarray) -> np.ndarray:
    """Accuracies relative to the mean of each target."""
    return accuracy - np.nanmean(accuracy, axis=0)


def _strength(accuracy: np.ndarray) -> np.ndarray:
    """Mean relative accuracy of each source, shape (sources,)."""
    return np.nanmean(_relative(accuracy), axis=1)


def _strength_by_pair(accuracy: np.ndarray) -> np.ndarray:
    """The same without the pair itself, shape (sources, targets)."""
    relative = _relative(accuracy)
    known = np.isfinite(relative)
    sums = np.nansum(relative, axis=1, keepdims=True) - np.where(known, relative, 0)
    return sums / np.maximum(known.sum(axis=1, keepdims=True) - known, 1)


def intervals(predicted: np.ndarray, others: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Intervals of predictions: quantiles of the errors of other targets in the same third of the ranking.

    Args:
        predicted: predictions for a target, shape (pairs,).
        others: left-out predictions for other targets, shape (sources, targets); NaN for missing values.
        errors: their errors.

    Returns:
        Lower and upper bounds, shape (pairs, 2), 0 to 1.
    """
    group = _thirds(predicted)
    groups = np.stack([_thirds(column) for column in others.T], axis=1)
    result = np.empty((len(predicted), 2))
    for third in range(_GROUPS):
        like = errors[(groups == third) & np.isfinite(errors)]
        result[group == third] = np.quantile(like, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return np.clip(predicted[:, None] + result, 0, 1)


def _thirds(predicted: np.ndarray) -> np.ndarray:
    """Group of each prediction by rank, 0 for the highest third; -1 for missing values."""
    result = np.full(len(predicted), -1)
    known = np.flatnonzero(np.isfinite(predicted))
    order = known[np.argsort(-predicted[known], kind="stable")]
    result[order] = np.arange(len(order)) * _GROUPS // max(1, len(order))
    return result
