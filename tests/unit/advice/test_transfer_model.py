"""The model of transfer on made matrices: it finds what made them, and leaves languages out."""

from pathlib import Path

import numpy as np
import pytest

from mu_lightning.advice.pairs import FEATURES, pair_features
from mu_lightning.advice.regression import Regression
from mu_lightning.advice.transfer_model import TransferModel, intervals
from mu_lightning.advice.validation import validate
from mu_lightning.locales import LOCALES
from mu_lightning.results.matrix import NByN
from mu_lightning.typology.similarity import from_features
from mu_lightning.utilities.errors import UserError

TAGS = tuple(LOCALES)[::4]


def made(noise: float = 0.0) -> NByN:
    """Accuracies that typology and the strength of the source explain."""
    random = np.random.default_rng(0)
    similarity = from_features("syntax_knn", TAGS).values
    strength = random.uniform(-0.1, 0.1, len(TAGS))[:, None]
    accuracy = 0.2 + 0.4 * similarity + strength + random.normal(0, noise, similarity.shape)
    np.fill_diagonal(accuracy, 0.9)
    return NByN(Path("made"), TAGS, TAGS, accuracy)


def test_it_finds_what_made_the_matrix_for_languages_that_it_has_not_seen() -> None:
    found = validate(TransferModel(made(), {}), 3)
    assert found.targets == len(TAGS)
    assert found.error < 0.02
    assert found.model.correlation > 0.9
    assert found.model.precision > found.similarity.precision
    assert found.similarity.correlation < 0.9
    assert 0.8 < found.inside <= 1


def test_a_left_out_language_changes_nothing_but_its_own() -> None:
    matrix = made(0.05)
    target = TAGS[3]
    other = matrix.accuracy.copy()
    other[3], other[:, 3] = 0.0, 1.0
    asked = pair_features(TAGS[:3], [target], {})[:, 0]
    models = [
        TransferModel(NByN(Path("made"), TAGS, TAGS, values), {}, [target]) for values in (matrix.accuracy, other)
    ]
    first, second = (model.predict(asked, TAGS[:3]) for model in models)
    assert np.array_equal(first, second)
    assert np.allclose(TransferModel(matrix, {}).left_out[:3, 3], first)


def test_an_unfinished_matrix_is_used_as_far_as_it_goes() -> None:
    matrix = made()
    matrix.accuracy[2] = np.nan
    model = TransferModel(matrix, {})
    assert TAGS[2] not in model.sources
    assert TAGS[2] in model.targets
    assert np.isfinite(model.left_out[model.accuracy == model.accuracy]).all()


def test_a_small_matrix_is_refused() -> None:
    whole = made()
    small = NByN(Path("small"), TAGS[:6], TAGS[:6], whole.accuracy[:6, :6])
    TransferModel(small, {})
    with pytest.raises(UserError, match=f"small has 5 sources and 5 locales without {TAGS[0]}.*at least 6 of each"):
        TransferModel(small, {}, [TAGS[0]])


def test_a_row_with_missing_features_is_predicted_by_the_others() -> None:
    random = np.random.default_rng(1)
    features = random.normal(size=(200, 2))
    model = Regression(features, 0.5 + features @ [0.1, 0.01])
    both, first, none = model.predict(np.array([[1.0, 2.0], [1.0, np.nan], [np.nan, np.nan]]))
    assert both == pytest.approx(0.62, abs=0.01)
    assert first == pytest.approx(0.6, abs=0.01)
    assert none == pytest.approx(0.5, abs=0.02)


def test_intervals_are_of_errors_at_like_ranks() -> None:
    others = np.array([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]])
    errors = np.array([[0.1], [0.1], [0.0], [0.0], [-0.1], [-0.1]])
    found = intervals(np.array([0.2, 0.6, 0.4]), others, errors)
    assert np.allclose(found, [[0.1, 0.1], [0.7, 0.7], [0.4, 0.4]])


def test_pairs_without_data_are_missing() -> None:
    found = pair_features(["en-US", "yo"], ["af-ZA"], {})
    values = dict(zip(FEATURES, found[0, 0], strict=True))
    assert values["syntax_knn"] > 0.9
    assert values["same_script"] == 1
    assert np.isnan([values["coverage"], values["source_rows"]]).all()
