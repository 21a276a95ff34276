"""What the approaches share that take a target's sources and weigh them."""

from collections.abc import Collection
from dataclasses import dataclass, field

from mu_lightning.approaches.base import Approach, Training
from mu_lightning.approaches.problem import Problem
from mu_lightning.results.naming import weights_label
from mu_lightning.typology.plan import SourcePlan, TypologySettings, plan_sources
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import UserError, unknown


@dataclass(frozen=True)
class FromSources(Approach):
    """An approach that takes the sources nearest to the target, or those that the problem names.

    Attributes:
        num_languages: so many of the problem's sources, the most similar first; None: all of them, in their order.
        preweight: where the sources' weights come from.
        weights: the weights of ``manual``, such as ``en-US=0.5,fr-FR=0.5``.
        typology: how similarities become weights.
        training: how the source models are trained; None: they are given.
    """

    num_languages: int | None = 5
    preweight: str = "uriel"
    weights: str | None = None
    typology: TypologySettings = field(default_factory=TypologySettings)
    training: Training | None = None

    def check(self) -> None:
        """Raises UserError for an unknown weight source, or a number of sources below 1."""
        if self.preweight not in WEIGHT_SOURCES:
            raise unknown("weight source", self.preweight, WEIGHT_SOURCES)
        if self.num_languages is not None and self.num_languages < 1:
            raise UserError(f"num_languages must be at least 1, not {self.num_languages}")

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The sources and their weights; raises UserError as `plan_sources` does.

        Where the problem names exactly so many sources as are taken, these are they, in their order.
        """
        candidates = [tag for tag in (problem.sources or available) if tag != problem.target]
        named = problem.sources is not None and self.num_languages in (None, len(candidates))
        return plan_sources(
            problem.target,
            available=candidates,
            locales=candidates if named else None,
            num_languages=self.num_languages or len(candidates),
            preweight=self.preweight,
            manual_weights=self.weights,
            settings=self.typology,
            seed=seed,
        )

    def draws(self) -> bool:
        """Whether the weights are shuffled."""
        return self.preweight == "shuffled"

    def named(self, *parts: str, weighs: bool = True) -> str:
        """A label of these parts, then where the weights come from."""
        return ", ".join(part for part in (*parts, weights_label(self.preweight) if weighs else "") if part)
