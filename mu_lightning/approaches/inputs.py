"""What an approach is built from: models, the base, and what was learned from text."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext, Tensors
from mu_lightning.models.classifier import IntentClassifier


class TextStatistics(Protocol):
    """How a merge learns from text what is of this merge alone."""

    def __call__(self, cell: Cell, context: EvaluationContext) -> Mapping[str, Mapping[str, Tensor]]:
        """Source -> tensor name -> statistic."""


@dataclass(frozen=True)
class Inputs:
    """What an approach is built from.

    Attributes:
        context: models, base and device.
        models: the name of a model in the cell's `Needs` -> its name in the context.
        shared: source -> what a merge method has to know of it, learned once for all merges.
        own: instead, how the merge learns it itself.
    """

    context: EvaluationContext
    models: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Tensors] | None = None
    own: TextStatistics | None = None

    def state(self, name: str) -> dict[str, Tensor]:
        """A model's tensors in float32, to be read only."""
        return self.context.state(self.models.get(name, name))

    def classifier(self, state: Mapping[str, Tensor]) -> IntentClassifier:
        """A classifier with these tensors, on the context's device."""
        return self.context.classifier(state)

    def base(self) -> Mapping[str, Tensor] | None:
        """The tensors that the models started from, where they are known."""
        return None if self.context.base is None else self.context.base.load()

    def statistics(self, cell: Cell) -> Mapping[str, Mapping[str, Tensor]] | None:
        """Source -> tensor name -> what the method has to know of the source's behavior; None for most methods."""
        if self.own is not None:
            return self.own(cell, self.context)
        if self.shared is not None:
            return {source: found.load() for source, found in self.shared.items()}
        return None
