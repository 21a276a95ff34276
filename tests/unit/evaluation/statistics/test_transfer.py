"""Similarity against measured transfer."""

import numpy as np
import pytest
from scipy import stats

from mu_lightning.evaluation.statistics.transfer import best_sources, explained, precision_at_k

NAMES = [f"l{place}" for place in range(8)]


@pytest.fixture
def similarity() -> np.ndarray:
    values = np.random.default_rng(0).random((8, 8))
    return (values + values.T) / 2


def test_each_targets_correlation_is_spearmans_over_its_sources(similarity: np.ndarray) -> None:
    transfer = similarity + np.random.default_rng(1).normal(0, 0.2, (8, 8))
    found = explained(similarity, transfer, NAMES, NAMES, draws=200)
    for place, name in enumerate(NAMES):
        rows = [row for row in range(8) if row != place]
        assert found.by_target[name] == pytest.approx(
            stats.spearmanr(similarity[rows, place], transfer[rows, place]).statistic
        )
    assert found.mean == pytest.approx(np.mean(list(found.by_target.values())))
    assert found.interval[0] <= found.mean <= found.interval[1]
    assert found.positive == sum(value > 0 for value in found.by_target.values())


def test_perfect_agreement_is_one_and_certain_and_opposition_is_minus_one(similarity: np.ndarray) -> None:
    alike = explained(similarity, similarity**3, NAMES, NAMES, draws=999)
    assert alike.mean == pytest.approx(1.0)
    assert alike.p_value == pytest.approx(1 / 1000)
    against = explained(similarity, -similarity, NAMES, NAMES, draws=99)
    assert against.mean == pytest.approx(-1.0)
    assert against.positive == 0
    assert against.p_value == 1.0


def test_the_test_by_exchanged_names_rarely_cries_wolf() -> None:
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(60):
        like = generator.random((8, 8))
        quality = generator.normal(size=(8, 1))  # some sources are better for everyone: rows are not independent
        alarms += explained(like + like.T, quality + generator.random((8, 8)), NAMES, NAMES, draws=99).p_value < 0.05
    assert alarms <= 8


def test_unknown_cells_and_targets_without_variation_are_left_out(similarity: np.ndarray) -> None:
    transfer = similarity.copy()
    transfer[:, 0] = 0.5  # every source alike
    transfer[2:, 1] = np.nan  # one source is left
    found = explained(similarity, transfer, NAMES, NAMES, draws=50)
    assert list(found.by_target) == NAMES[2:]
    assert np.isnan(found.p_value)  # names cannot be exchanged in a table with gaps
    nothing = explained(similarity, np.full((8, 8), np.nan), NAMES, NAMES)
    assert nothing.by_target == {}
    assert np.isnan(nothing.mean)


def test_a_matrix_of_other_targets_than_sources_is_taken(similarity: np.ndarray) -> None:
    found = explained(similarity[:, :2], similarity[:, :2], NAMES, ["x", "l1"], draws=50)
    assert found.by_target == {"x": pytest.approx(1.0), "l1": pytest.approx(1.0)}


def test_precision_counts_the_chosen_that_are_truly_best() -> None:
    transfer = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}
    assert precision_at_k(["a", "b"], transfer) == 1.0
    assert precision_at_k(["a", "d"], transfer) == 0.5
    assert precision_at_k(["c", "d"], transfer) == 0.0
    assert precision_at_k(["a", "c", "d"], transfer) == pytest.approx(2 / 3)


def test_sources_that_tie_with_the_last_of_the_best_count_as_best() -> None:
    transfer = {"a": 0.9, "b": 0.8, "c": 0.8, "d": 0.6}
    assert best_sources(transfer, 2) == {"a", "b", "c"}
    assert precision_at_k(["a", "c"], transfer) == 1.0
