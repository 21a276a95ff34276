"""One model on the pooled train rows of all sources: what merging has to come up to."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mu_lightning.approaches.base import Built, Cell, Needs
from mu_lightning.approaches.from_sources import FromSources
from mu_lightning.approaches.problem import Problem
from mu_lightning.typology.plan import SourcePlan

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Inputs

GIVEN = "joint"  # what a model of several locales that is given is called among the models


@dataclass(frozen=True)
class Joint(FromSources):
    """One model trained on the pooled train rows of the sources, without merges; the sources' weights play no part."""

    name: ClassVar[str] = "joint"
    summary: ClassVar[str] = "one model trained on the pooled train rows of the sources"

    preweight: str = "equal"

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The sources; None where the problem names exactly so many, the target perhaps among them."""
        if problem.sources is not None and len(problem.sources) == self.num_languages:
            return None
        return super().choose(problem, available, seed)

    def fixed_sources(self, problem: Problem) -> tuple[str, ...]:
        """The sources that the problem names."""
        return problem.sources or ()

    def label(self) -> str:
        """What it is."""
        return "one model on pooled data"

    def plain(self) -> dict[str, Any]:
        """Every parameter but the weights, which play no part."""
        return super().plain() | {"preweight": None, "weights": None}

    def needs(self, cell: Cell) -> Needs:
        """The model of all sources."""
        if self.training is None:
            return Needs(models={GIVEN: ()})
        return Needs(models={pooled(cell.sources, cell.target): cell.sources})

    def vote(self, cell: Cell) -> tuple[str, Mapping[str, float]]:
        """The model's own logits."""
        return "uriel_logits", dict.fromkeys(cell.needs.models, 1.0)

    def build(self, cell: Cell, inputs: "Inputs", folder: Path) -> Built:
        """The model."""
        (name,) = cell.needs.models
        return Built(inputs.model(name), details={"sources": list(cell.sources)})


def pooled(sources: tuple[str, ...], target: str) -> str:
    """What a model of these locales is called among the models: the tokens of the target's text are part of it."""
    return f"pooled-{len(sources)}-{hashlib.sha256(' '.join([target, *sources]).encode()).hexdigest()[:8]}"
