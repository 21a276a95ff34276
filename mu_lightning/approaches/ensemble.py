"""Source models that vote: nothing is merged, every source answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mu_lightning.approaches.base import Built, Cell, Needs
from mu_lightning.approaches.from_sources import FromSources
from mu_lightning.utilities.errors import unknown

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Inputs

UNWEIGHTED = ("majority",)  # votes that read no weights


@dataclass(frozen=True)
class Ensemble(FromSources):
    """Source models that vote on each utterance.

    Attributes:
        vote_method: a registered vote.
    """

    name: ClassVar[str] = "ensemble"
    summary: ClassVar[str] = "source models that vote on each utterance"

    vote_method: str = "uriel_logits"

    @property
    def weighs(self) -> bool:
        """Whether the vote reads weights."""
        return self.vote_method not in UNWEIGHTED

    def check(self) -> None:
        """Raises UserError for an unknown vote too."""
        from mu_lightning.models.votes import VOTES

        super().check()
        if self.vote_method not in VOTES:
            raise unknown("voting method", self.vote_method, VOTES)

    def draws(self) -> bool:
        """Whether the weights that it votes with are shuffled."""
        return self.weighs and super().draws()

    def label(self) -> str:
        """The vote, and where its weights come from."""
        return self.named("ensemble", self.vote_method, weighs=self.weighs)

    def plain(self) -> dict[str, Any]:
        """Every parameter; weights that the vote does not read are None, so that they make no difference."""
        return super().plain() | ({} if self.weighs else {"preweight": None, "weights": None})

    def needs(self, cell: Cell) -> Needs:
        """The source models."""
        return Needs(models={tag: (tag,) for tag in cell.sources})

    def vote(self, cell: Cell) -> tuple[str, Mapping[str, float]]:
        """The vote and the weights."""
        return self.vote_method, cell.weights

    def build(self, cell: Cell, inputs: "Inputs", folder: Path) -> Built:
        """The sources' vote as a module."""
        from mu_lightning.models import ensemble

        members = {tag: inputs.model(tag) for tag in cell.sources}
        return Built(ensemble.Ensemble(members, cell.weights, self.vote_method))
