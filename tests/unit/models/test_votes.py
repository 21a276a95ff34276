"""Votes against naive loops over rows and members, ties included."""

import math

import pytest
import torch
from torch import Tensor

from mu_lightning.models.votes import VOTES

MEMBERS, ROWS, CLASSES = 5, 200, 4
# Sums of these are exact, so that a tie (the second and third against the first) is one in any precision.
UNEVEN = [0.4375, 0.3125, 0.125, 0.0625, 0.0625]


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    parts = [math.exp(value - top) for value in values]
    return [part / sum(parts) for part in parts]


def argmax(values: list[float]) -> int:
    return max(range(len(values)), key=lambda place: values[place])  # the first of equals


def naive(vote: str, logits: list[list[float]], weights: list[float]) -> int:
    """The answer for one row: `logits[member][class]`."""
    ballots = [argmax(member) for member in logits]
    if vote == "majority":
        counts = {ballot: ballots.count(ballot) for ballot in ballots}
        return next(ballot for ballot in ballots if counts[ballot] == max(counts.values()))
    totals = [0.0] * len(logits[0])
    for member, ballot, weight in zip(logits, ballots, weights, strict=True):
        if vote == "weighted_majority":
            totals[ballot] += weight
        else:
            given = softmax(member) if vote == "soft" else member
            totals = [total + weight * value for total, value in zip(totals, given, strict=True)]
    return argmax(totals)


@pytest.fixture
def logits() -> Tensor:
    # Few distinct ballots among many rows: ties abound.
    return torch.randn(MEMBERS, ROWS, CLASSES, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize("vote", VOTES)
@pytest.mark.parametrize("weights", [[0.2] * 5, UNEVEN, [0.0, 1.0, 0.0, 0.0, 0.0]])
def test_each_row_gets_the_answer_of_a_naive_count(vote: str, weights: list[float], logits: Tensor) -> None:
    answers = VOTES[vote](logits, torch.tensor(weights)).argmax(dim=-1).tolist()
    assert answers == [naive(vote, logits[:, row].tolist(), weights) for row in range(ROWS)]


def test_the_votes_differ_on_some_rows_or_the_comparison_shows_nothing(logits: Tensor) -> None:
    weights = torch.tensor(UNEVEN)
    answers = [tuple(vote(logits, weights).argmax(dim=-1).tolist()) for vote in VOTES.values()]
    assert len(set(answers)) == len(VOTES)


@pytest.mark.parametrize(
    ("ballots", "answer"),
    [
        ([2, 1, 1, 2], 2),
        ([3, 0, 1, 2], 3),
        ([3, 0, 0, 1, 1], 0),
        ([1], 1),
        ([0, 2, 2], 2),
    ],
)
def test_a_tied_majority_goes_to_the_class_voted_for_earliest(ballots: list[int], answer: int) -> None:
    logits = torch.nn.functional.one_hot(torch.tensor(ballots), CLASSES).float()[:, None]
    # Weights have no say in it, however they lie.
    weights = torch.linspace(0, 1, len(ballots))
    assert VOTES["majority"](logits, weights).argmax(dim=-1).tolist() == [answer]


def test_a_majority_of_many_members_is_never_overruled_by_the_tie_break() -> None:
    # 51 members for class 1 after 50 for class 0.
    logits = torch.nn.functional.one_hot(torch.tensor([0] * 50 + [1] * 51), 2).float()[:, None]
    assert VOTES["majority"](logits, torch.full((101,), 1 / 101)).argmax(dim=-1).tolist() == [1]


def test_one_member_alone_is_always_followed(logits: Tensor) -> None:
    for vote in VOTES.values():
        assert torch.equal(vote(logits[:1], torch.tensor([1.0])).argmax(dim=-1), logits[0].argmax(dim=-1))


def test_soft_scores_are_probabilities(logits: Tensor) -> None:
    scores = VOTES["soft"](logits, torch.tensor(UNEVEN))
    torch.testing.assert_close(scores.sum(dim=-1), torch.ones(ROWS))
