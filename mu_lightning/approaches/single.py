"""One model as it is: a source, the nearest source, or the target's own (the ceiling)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mu_lightning.approaches.base import Approach, Built, Cell, Needs, Training
from mu_lightning.approaches.problem import Problem
from mu_lightning.typology.plan import SourcePlan, TypologySettings, plan_sources

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Inputs

TARGET, NEAREST = "target", "nearest"


@dataclass(frozen=True)
class Single(Approach):
    """One model, trained on one locale, as it is.

    Attributes:
        source: a source's locale; ``nearest``: the most similar source; ``target``: the target itself, on its labels.
        typology: of ``nearest``: what similar means.
        training: how the model is trained; None: it is given.
    """

    name: ClassVar[str] = "single"
    summary: ClassVar[str] = "one model as it is: a source, the nearest one, or the target's own"

    source: str = TARGET
    typology: TypologySettings = field(default_factory=TypologySettings)
    training: Training | None = None

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The nearest source, where that is asked for."""
        if self.source != NEAREST:
            return None
        candidates = [tag for tag in (problem.sources or available) if tag != problem.target]
        return plan_sources(problem.target, available=candidates, num_languages=1, settings=self.typology, seed=seed)

    def fixed_sources(self, problem: Problem) -> tuple[str, ...]:
        """Its locale."""
        return () if self.source == NEAREST else (problem.target if self.source == TARGET else self.source,)

    def label(self) -> str:
        """``source de-DE``, the nearest source, or the ceiling."""
        if self.source == TARGET:
            return "trained on target labels (ceiling)"
        return "nearest source" if self.source == NEAREST else f"source {self.source}"

    def needs(self, cell: Cell) -> Needs:
        """Its model."""
        return Needs(models={tag: (tag,) for tag in cell.sources})

    def vote(self, cell: Cell) -> tuple[str, Mapping[str, float]]:
        """The model's own logits."""
        return "uriel_logits", dict.fromkeys(cell.sources, 1.0)

    def build(self, cell: Cell, inputs: "Inputs", folder: Path) -> Built:
        """The model."""
        (tag,) = cell.sources
        return Built(inputs.model(tag), "target-labels" if tag == cell.target else "none")
