"""Source models merged once, or voting, in the way that does best on sources that are left out."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from mu_lightning.approaches.base import Built, Cell, Inputs, Needs
from mu_lightning.approaches.from_sources import FromSources
from mu_lightning.approaches.problem import Problem
from mu_lightning.typology.plan import SourcePlan, source_matrix
from mu_lightning.typology.selection import ranked

POOL = 10  # sources to choose from
ALL_RANKS = 10_000  # top-k that excludes no candidate


@dataclass(frozen=True)
class Tuned(FromSources):
    """Source models merged once, or voting: method, scale, weights and number of sources are chosen on the sources.

    Attributes:
        num_languages: so many of the nearest sources to choose from, or as many as there are.
        space: what is chosen among: ``merge`` or ``vote``.
    """

    name: ClassVar[str] = "tuned"
    summary: ClassVar[str] = "source models merged once or voting, as does best on sources that are left out"

    num_languages: int | None = POOL
    preweight: str = "equal"
    space: str = "merge"

    def check(self) -> None:
        """Raises UserError for an unknown space too."""
        from mu_lightning.approaches.tuning.space import SPACES
        from mu_lightning.utilities.errors import unknown

        super().check()
        if self.space not in SPACES:
            raise unknown("space", self.space, SPACES)

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The sources to choose from; raises UserError where they are too few to leave one out."""
        from mu_lightning.approaches.tuning.tune import check_pool

        matrix = source_matrix(self.typology, (problem.target, *(problem.sources or available)))
        candidates = [tag for tag in (problem.sources or available) if tag != problem.target]
        known = ranked(matrix, problem.target, candidates)
        number = min(self.num_languages or len(known), len(known))
        check_pool(problem.target, known[:number], self.space)
        wide = replace(self, num_languages=number, typology=replace(self.typology, top_k=ALL_RANKS))
        return FromSources.choose(wide, problem, available, seed)

    def label(self) -> str:
        """What is tuned."""
        return {"merge": "merged once, tuned on sources", "vote": "ensemble, tuned on sources"}[self.space]

    def plain(self) -> dict[str, Any]:
        """Every parameter that it reads."""
        return super().plain() | {"preweight": None, "weights": None}

    def needs(self, cell: Cell) -> Needs:
        """The source models, their dev rows with labels, and the base."""
        from mu_lightning.approaches.tuning.space import SPACES

        models = {tag: (tag,) for tag in cell.sources}
        return Needs(models=models, base=SPACES[self.space].needs_base, dev=tuple(cell.sources))

    def build(self, cell: Cell, inputs: Inputs, folder: Path) -> Built:
        """Chooses, then builds what was chosen."""
        from mu_lightning.approaches.tuning.tune import tune

        assert cell.plan is not None
        tuning = tune(
            cell.problem,
            cell.plan.similarities,
            self.space,
            self.typology,
            inputs.context,
            inputs.models,
            cell.seed,
        )
        problem = replace(cell.problem, sources=cell.sources)
        own = Cell(problem, tuning.chosen, cell.seed, tuning.chosen.choose(problem, cell.sources, cell.seed))
        built = tuning.chosen.build(own, inputs, folder)
        return Built(built.classifier, "source-dev", {"weights": own.weights, "tuning": tuning.plain()})
