"""Top-k, temperature and Sinkhorn's scaling, against plain loops."""

import numpy as np
import pytest

from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.typology.sinkhorn import normalize
from mu_lightning.utilities.errors import UserError


def random_matrix(seed: int, count: int = 7) -> SimilarityMatrix:
    values = np.random.default_rng(seed).uniform(0.4, 1.0, (count, count))
    return SimilarityMatrix(tuple(f"l{index}" for index in range(count)), (values + values.T) / 2)


def naive(values: list[list[float]], top_k: int, iterations: int, temperature: float) -> list[list[float]]:
    count = len(values)
    result = [[0.0] * count for _ in range(count)]
    for row in range(count):
        others = sorted((column for column in range(count) if column != row), key=lambda c: (-values[row][c], c))
        for column in others[:top_k]:
            result[row][column] = values[row][column] ** (1 / temperature)

    def divide_rows() -> None:
        for row in result:
            total = sum(row)
            row[:] = [value / total for value in row]

    for _ in range(iterations):
        divide_rows()
        for column in range(count):
            total = sum(row[column] for row in result)
            for row in result:
                row[column] = row[column] / total if total else 0.0
    divide_rows()
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("top_k", [1, 3, 6, 50])
@pytest.mark.parametrize(("iterations", "temperature"), [(0, 1.0), (1, 1.0), (20, 1.0), (20, 0.2), (5, 3.0)])
def test_it_is_what_plain_loops_give(seed: int, top_k: int, iterations: int, temperature: float) -> None:
    matrix = random_matrix(seed)
    result = normalize(matrix, top_k, iterations, temperature)
    expected = np.array(naive(matrix.values.tolist(), top_k, iterations, temperature))
    np.testing.assert_allclose(result.values, expected, atol=1e-13)
    assert result.column_residual == pytest.approx(np.abs(expected.sum(axis=0) - 1).max(), abs=1e-12)
    np.testing.assert_allclose(result.values.sum(axis=1), 1.0, rtol=0, atol=1e-12)
    assert (np.diag(result.values) == 0).all()


def test_ties_go_to_the_locale_that_stands_first() -> None:
    matrix = SimilarityMatrix(("a", "b", "c", "d"), np.full((4, 4), 0.5))
    assert (normalize(matrix, 2, 0).values[3] > 0).tolist() == [True, True, False, False]
    assert (normalize(matrix, 2, 0).values[0] > 0).tolist() == [False, True, True, False]


def test_named_locales_are_kept_in_their_row_alone() -> None:
    matrix = random_matrix(1)
    without, kept = normalize(matrix, 1, 0), normalize(matrix, 1, 0, keep={"l0": ("l1", "l2", "l3", "l0")})
    assert (kept.values[0] > 0).sum() in (3, 4)
    assert all(kept.values[0, column] > 0 for column in (1, 2, 3))
    assert kept.values[0, 0] == 0
    assert np.array_equal(kept.values[1:], without.values[1:])


def test_many_rounds_on_a_full_matrix_end_doubly_stochastic() -> None:
    assert normalize(random_matrix(2), 6, 500).column_residual < 1e-12
    assert normalize(random_matrix(2), 6, 0).column_residual > 1e-3


def test_a_column_that_nobody_keeps_stays_empty() -> None:
    values = np.array([[1, 0.9, 0.1], [0.9, 1, 0.1], [0.9, 0.8, 1]])
    result = normalize(SimilarityMatrix(("a", "b", "c"), values), 1, 20)
    assert (result.values[:, 2] == 0).all()
    assert result.column_residual == pytest.approx(1.0)


def test_temperature_sharpens_and_flattens() -> None:
    matrix = random_matrix(3)
    sharp, plain, flat = (normalize(matrix, 6, 0, temperature).values[0].max() for temperature in (0.2, 1.0, 5.0))
    assert sharp > plain > flat
    assert np.isfinite(normalize(matrix, 6, 20, 1e-6).values).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 20, 1.0), "top-k must be at least 1, not 0"),
        ((-3, 20, 1.0), "top-k must be at least 1"),
        ((5, -1, 1.0), "iterations must not be negative"),
        ((5, 20, 0.0), "temperature must be a positive number, not 0"),
        ((5, 20, -1.0), "temperature must be a positive number"),
        ((5, 20, float("nan")), "temperature must be a positive number"),
        ((5, 20, float("inf")), "temperature must be a positive number"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: tuple[int, int, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        normalize(random_matrix(0), *arguments)


def test_a_matrix_without_neighbors_is_refused() -> None:
    with pytest.raises(UserError, match="has only a"):
        normalize(SimilarityMatrix(("a",), np.ones((1, 1))), 1, 1)
    with pytest.raises(UserError, match="row b has no neighbor with a positive similarity"):
        normalize(SimilarityMatrix(("a", "b"), np.array([[1, 0.5], [0, 1]])), 1, 1)
