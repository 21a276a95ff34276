"""Successive halving: many candidates on few rows, the best of them on more (Jamieson and Talwalkar, 2016).

https://arxiv.org/abs/1502.07943
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 1 / 3
LEAST = 3


@dataclass(frozen=True)
class Round:
    """A round of successive halving.

    Attributes:
        budget: rows of each pseudo-target so far.
        candidates: indices of the candidates, in their order.
        scores: weighted mean accuracy of each, in the same order.
        accuracies: accuracy of each on each pseudo-target, shape (candidates, pseudo-targets).
    """

    budget: int
    candidates: tuple[int, ...]
    scores: tuple[float, ...]
    accuracies: np.ndarray

    @property
    def ranked(self) -> list[int]:
        """The candidates, best first; of equals the first one."""
        order = sorted(range(len(self.candidates)), key=lambda place: -self.scores[place])
        return [self.candidates[place] for place in order]


def halving(
    count: int,
    budgets: Sequence[int],
    accuracies: Callable[[Sequence[int], int], np.ndarray],
    weights: Sequence[float],
) -> list[Round]:
    """Scores candidates on growing budgets, and keeps a third of them, at least three, after each round.

    Args:
        count: number of candidates.
        budgets: rows of each pseudo-target, ascending.
        accuracies: candidates, budget -> accuracies of shape (candidates, pseudo-targets).
        weights: weight of each pseudo-target, summing to 1.

    Returns:
        The rounds; the first of the last round's `ranked` is the choice.
    """
    left, rounds = list(range(count)), []
    for budget in budgets:
        found = accuracies(left, budget)
        rounds.append(Round(budget, tuple(left), tuple((found @ np.asarray(weights)).tolist()), found))
        left = sorted(rounds[-1].ranked[: max(LEAST, math.ceil(KEPT * len(left)))])
    return rounds
