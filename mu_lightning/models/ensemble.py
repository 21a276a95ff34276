"""Several members that answer together: a module from a batch to logits, like any other."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mu_lightning.data.encoding import Batch
from mu_lightning.models.votes import VOTES
from mu_lightning.utilities.errors import unknown


class Panel(nn.Module):
    """The members' logits, computed once a batch, and everything that is asked of them.

    Args:
        members: name -> module from a batch to logits; the order decides ties.
        votes: name in the results -> (vote, weights of the members in their order), or (vote, member -> weight); a
            member that is not named then does not vote.
        with_members: whether each member's own logits are given too, under its name.

    Raises:
        UserError: a vote is not one of `VOTES`.
    """

    def __init__(
        self,
        members: Mapping[str, nn.Module],
        votes: Mapping[str, tuple[str, Sequence[float] | Mapping[str, float]]],
        with_members: bool = False,
    ) -> None:
        super().__init__()
        for vote, _ in votes.values():
            if vote not in VOTES:
                raise unknown("voting method", vote, VOTES)
        self.names = tuple(members)
        self.members = nn.ModuleList(members.values())
        self.votes = {name: (VOTES[vote], *self._voters(weights)) for name, (vote, weights) in votes.items()}
        self.with_members = with_members

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Name -> logits of shape (B, classes)."""
        logits = torch.stack([member(batch) for member in self.members])
        named = {
            name: vote(logits if len(voters) == len(logits) else logits[voters], weights.to(logits.device))
            for name, (vote, voters, weights) in self.votes.items()
        }
        return named | (dict(zip(self.names, logits, strict=True)) if self.with_members else {})

    def _voters(self, weights: Sequence[float] | Mapping[str, float]) -> tuple[list[int], Tensor]:
        """The places of those who vote, and their weights."""
        named = weights if isinstance(weights, Mapping) else dict(zip(self.names, weights, strict=True))
        voters = [place for place, name in enumerate(self.names) if name in named]
        return voters, torch.tensor([named[self.names[place]] for place in voters])


class Ensemble(nn.Module):
    """One vote over members, as a module from a batch to logits.

    Args:
        members: name -> module from a batch to logits.
        weights: name -> weight; they sum to 1.
        vote: ``majority``, ``weighted_majority``, ``soft`` or ``uriel_logits``.
    """

    def __init__(
        self, members: Mapping[str, nn.Module], weights: Mapping[str, float], vote: str = "uriel_logits"
    ) -> None:
        super().__init__()
        self.panel = Panel(members, {vote: (vote, [weights[name] for name in members])})

    def forward(self, batch: Batch) -> Tensor:
        """Scores of the classes, shape (B, classes); the largest is the answer."""
        (logits,) = self.panel(batch).values()
        return logits
