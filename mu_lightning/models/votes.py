"""Votes of ensembles: pure functions of logits and weights.

A vote takes logits of shape (members, B, classes) and weights of shape (members,) that sum to 1, and returns scores of
shape (B, classes) whose argmax is the prediction. To add a vote, add a function and a line in `VOTES`. Importing this
module does not import torch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Vote = Callable[["Tensor", "Tensor"], "Tensor"]


def majority(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Unweighted majority vote; ties are resolved to the class with the first vote in the order of the members."""
    del weights
    ballots = _ballots(logits)
    members = len(ballots)
    # Less than one vote, and different for each first voter: it resolves ties only.
    order = logits.new_tensor(range(members, 0, -1)) / (members + 1)
    return ballots.sum(dim=0) + (ballots * order[:, None, None]).amax(dim=0)


def weighted_majority(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Weighted majority vote: sum_i w_i [argmax z_i = c]."""
    return _weighted_sum(weights, _ballots(logits))


def soft(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Weighted mean of the probabilities: sum_i w_i softmax(z_i)."""
    return _weighted_sum(weights, logits.softmax(dim=-1))


def uriel_logits(logits: "Tensor", weights: "Tensor") -> "Tensor":
    """Weighted sum of the logits: sum_i w_i z_i."""
    return _weighted_sum(weights, logits)


VOTES: dict[str, Vote] = {
    "majority": majority,
    "weighted_majority": weighted_majority,
    "soft": soft,
    "uriel_logits": uriel_logits,
}


# Votes whose scores are shares of votes or of probability; the scores of the others are logits.
SHARES = ("majority", "weighted_majority", "soft")


def _weighted_sum(weights: "Tensor", scores: "Tensor") -> "Tensor":
    import torch

    return torch.einsum("m,mbc->bc", weights.to(scores), scores)


def _ballots(logits: "Tensor") -> "Tensor":
    from torch.nn.functional import one_hot

    return one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
