"""Which sources are chosen."""

import numpy as np
import pytest

from mu_lightning.locales import LOCALES
from mu_lightning.typology.selection import nearest_sources, ranked
from mu_lightning.typology.similarity import SimilarityMatrix, from_features
from mu_lightning.typology.sinkhorn import normalize
from mu_lightning.utilities.errors import UserError

MATRIX = SimilarityMatrix(
    ("a", "b", "c", "d"), np.array([[1, 0.5, 0.9, 0.5], [0.5, 1, 0.2, 0.3], [0.9, 0.2, 1, 0.4], [0.5, 0.3, 0.4, 1]])
)


def test_the_most_similar_come_first_and_ties_in_the_matrix_order() -> None:
    assert ranked(MATRIX, "a") == ("c", "b", "d")
    assert ranked(MATRIX, "a", {"d", "a", "b", "elsewhere"}) == ("b", "d")


def test_the_ranking_is_by_raw_similarity_not_by_the_normalized_value() -> None:
    matrix = from_features("syntax_knn", tuple(LOCALES))
    values = normalize(matrix, 20, 20).values
    differs = 0
    for row, target in enumerate(matrix.locales):
        order = ranked(matrix, target)
        raw = [matrix.similarity(target, tag) for tag in order]
        assert raw == sorted(raw, reverse=True)
        assert len(order) == 51
        assert target not in order
        by_normalized = matrix.locales[int(np.argmax(values[row]))]
        differs += by_normalized != order[0]
    assert differs > 10  # so it does matter which of the two is used


def test_sources_come_from_the_nearest_that_are_available() -> None:
    assert nearest_sources(MATRIX, "a", {"a", "b", "c", "d"}, 2, 3) == ("c", "b")
    assert nearest_sources(MATRIX, "a", ["d", "b"], 1, 3) == ("b",)
    assert nearest_sources(MATRIX, "a", ["b", "c", "d"], 3, 99) == ("c", "b", "d")


@pytest.mark.parametrize(
    ("available", "number", "top_k", "message"),
    [
        ("abcd", 4, 9, "4 source languages are asked for a, but only 3 exist: c, b, d"),
        ("ab", 2, 9, "2 source languages are asked for a, but only 1 exists: b"),
        ("a", 1, 9, "1 source language is asked for a, but no source other than a itself is available"),
        ("abcd", 3, 1, "only 1 of the 3 available are among its 1 nearest: c; raise --top-k"),
        ("bd", 1, 1, "only 0 of the 2 available are among its 1 nearest; raise --top-k"),
        ("abcd", 0, 9, "number of source languages must be at least 1, not 0"),
        ("abcd", 1, 0, "top-k must be at least 1, not 0"),
    ],
)
def test_too_few_sources_are_refused(available: str, number: int, top_k: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        nearest_sources(MATRIX, "a", list(available), number, top_k)
