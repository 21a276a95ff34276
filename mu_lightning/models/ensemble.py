"""Ensembles: modules that combine the logits of several members by a vote."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mu_lightning.data.encoding import Batch
from mu_lightning.evaluation.loop import check_finite_logits
from mu_lightning.models.votes import SHARES, VOTES
from mu_lightning.utilities.errors import unknown


class Panel(nn.Module):
    """Several votes over the same members; the logits of the members are computed once per batch.

    Args:
        members: name -> module from a batch to logits; the order resolves ties.
        votes: name of the result -> (vote, weights in the order of the members), or (vote, member -> weight) for a
            subset of the members.
        with_members: whether to return the logits of each member, too.

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
        self._shares = {name for name, (vote, _) in votes.items() if vote in SHARES}
        self.members = nn.ModuleList(members.values())
        self.votes = {name: (VOTES[vote], *self._voters(weights)) for name, (vote, weights) in votes.items()}
        self.with_members = with_members

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns logits of shape (B, classes) by name; raises NonFiniteError if a member's are not finite."""
        answers = [member(batch) for member in self.members]
        for name, answer in zip(self.names, answers, strict=True):  # a vote of them may be finite all the same
            check_finite_logits(answer, name)
        logits = torch.stack(answers)
        named = {
            name: vote(logits if len(voters) == len(logits) else logits[voters], weights.to(logits.device))
            for name, (vote, voters, weights) in self.votes.items()
        }
        return named | (dict(zip(self.names, logits, strict=True)) if self.with_members else {})

    def confidences(self, output: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Probability of each row's predicted label by name, shape (B,): the share of votes, or by softmax.

        The temperature of a member is used for the member alone.
        """
        return {name: self._confidence(name, scores) for name, scores in output.items()}

    def _confidence(self, name: str, scores: Tensor) -> Tensor:
        if name in self._shares:
            return scores.amax(dim=-1) / scores.sum(dim=-1)
        voters = self.votes[name][1] if name in self.votes else [self.names.index(name)]
        alone = self.members[voters[0]] if len(voters) == 1 else None
        return torch.softmax(scores / getattr(alone, "temperature", 1.0), dim=-1).amax(dim=-1)

    def _voters(self, weights: Sequence[float] | Mapping[str, float]) -> tuple[list[int], Tensor]:
        """Indices and weights of the members that vote."""
        named = weights if isinstance(weights, Mapping) else dict(zip(self.names, weights, strict=True))
        voters = [place for place, name in enumerate(self.names) if name in named]
        return voters, torch.tensor([named[self.names[place]] for place in voters])


class Ensemble(nn.Module):
    """One vote over members, as a module from a batch to logits.

    Args:
        members: name -> module from a batch to logits.
        weights: name -> weight; weights sum to 1.
        vote: ``majority``, ``weighted_majority``, ``soft`` or ``uriel_logits``.
    """

    def __init__(
        self, members: Mapping[str, nn.Module], weights: Mapping[str, float], vote: str = "uriel_logits"
    ) -> None:
        super().__init__()
        self.panel = Panel(members, {vote: (vote, [weights[name] for name in members])})

    def forward(self, batch: Batch) -> Tensor:
        """Returns class scores of shape (B, classes); the prediction is the argmax."""
        (logits,) = self.panel(batch).values()
        return logits

    def confidences(self, output: Tensor) -> Tensor:
        """Probability of each row's predicted label, shape (B,); see `Panel.confidences`."""
        (name,) = self.panel.votes
        return self.panel.confidences({name: output})[name]
