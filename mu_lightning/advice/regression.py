"""Ridge regression with missing features."""

import numpy as np

PENALTIES = np.logspace(-1, 4, 12)  # the best is chosen by generalized cross-validation
_USUAL = 0.5  # features that fewer of the rows have are not used


class Regression:
    """Ridge regression on standardized features: a row is predicted by a model of the features that it has.

    Args:
        features: features of shape (rows, features); NaN for missing values.
        values: values to predict, 0 to 1, shape (rows,).
    """

    def __init__(self, features: np.ndarray, values: np.ndarray) -> None:
        self._features, self._values = features, values
        usual = np.isfinite(features).mean(axis=0) >= _USUAL
        spread = np.array([np.nanstd(column) if kept else 0 for column, kept in zip(features.T, usual, strict=True)])
        self._usable = spread > 1e-12

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Predicts values for features of shape (rows, features); returns shape (rows,), 0 to 1."""
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        known = np.isfinite(features) & self._usable
        result = np.full(len(features), self._values.mean())
        for pattern in np.unique(known, axis=0):
            if pattern.any():
                model = make_pipeline(SimpleImputer(), StandardScaler(), RidgeCV(PENALTIES))
                model.fit(self._features[:, pattern], self._values)
                rows = (known == pattern).all(axis=1)
                result[rows] = model.predict(features[np.ix_(rows, pattern)])
        return np.clip(result, 0, 1)
