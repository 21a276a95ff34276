"""How an ensemble's members vote: pure functions of their logits and weights.

Each takes logits of shape (members, B, classes) and weights of shape (members,) that sum to 1, and gives scores of
shape (B, classes) whose largest entry is the ensemble's answer. A vote is added as one function and one line of
`VOTES`. torch is imported when a vote is counted, so that the command line knows the names without it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Vote = Callable[["Tensor", "Tensor"], "Tensor"]


def majority(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Votes of equal weight; a tie goes to the class whose first voter comes earliest in the members' order."""
    del weights
    ballots = _ballots(logits)
    members = len(ballots)
    # Less than one vote for any class, and different for classes with different first voters: it only decides ties.
    order = logits.new_tensor(range(members, 0, -1)) / (members + 1)
    return ballots.sum(dim=0) + (ballots * order[:, None, None]).amax(dim=0)


def weighted_majority(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Each member's vote counts its weight: sum_i w_i [argmax z_i = c]."""
    return _weighted_sum(weights, _ballots(logits))


def soft(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """The weighted mean of the members' probabilities: sum_i w_i softmax(z_i)."""
    return _weighted_sum(weights, logits.softmax(dim=-1))


def uriel_logits(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """The weighted sum of the members' logits: sum_i w_i z_i."""
    return _weighted_sum(weights, logits)


VOTES: dict[str, Vote] = {
    "majority": majority,
    "weighted_majority": weighted_majority,
    "soft": soft,
    "uriel_logits": uriel_logits,
}


def _weighted_sum(weights: "Tensor", scores: "Tensor") -> "Tensor":
    import torch

    return torch.einsum("m,mbc->bc", weights.to(scores), scores)


def _ballots(logits: "Tensor") -> "Tensor":
    from torch.nn.functional import one_hot

    return one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
