"""Successive halving, against all scores."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mu_lightning.approaches.tuning.halving import halving

TRUTH = np.random.default_rng(3).uniform(0.2, 0.8, (40, 4))
WEIGHTS = [0.4, 0.3, 0.2, 0.1]


def test_few_are_left_and_the_best_of_them_is_chosen() -> None:
    asked: list[tuple[int, int]] = []

    def accuracies(left: Sequence[int], budget: int) -> np.ndarray:
        asked.append((len(left), budget))
        noise = np.random.default_rng(budget).normal(0, 1 / budget, TRUTH.shape)
        return (TRUTH + noise)[list(left)]

    rounds = halving(len(TRUTH), (100, 200, 400), accuracies, WEIGHTS)
    assert asked == [(40, 100), (14, 200), (5, 400)]
    for one in rounds:
        assert one.scores == tuple(one.accuracies @ WEIGHTS)
    for one, after in pairwise(rounds):
        assert set(after.candidates) == set(one.ranked[: len(after.candidates)])
    best = int((TRUTH @ WEIGHTS).argmax())
    assert rounds[-1].ranked[0] == best


def test_at_least_three_stay_and_of_equals_the_first_is_chosen() -> None:
    rounds = halving(4, (1, 2, 3), lambda left, budget: np.full((len(left), 4), 0.5), WEIGHTS)
    assert [one.candidates for one in rounds] == [(0, 1, 2, 3), (0, 1, 2), (0, 1, 2)]
    assert rounds[-1].ranked == [0, 1, 2]
