"""Source models merged once, after they were trained."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mu_lightning.approaches.base import Built, Cell, Needs
from mu_lightning.approaches.from_sources import FromSources
from mu_lightning.approaches.from_text.modes import DEFAULT_MODES, MODES, Mode
from mu_lightning.approaches.problem import Problem
from mu_lightning.typology.plan import SourcePlan
from mu_lightning.utilities.errors import UserError, unknown

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Inputs
    from mu_lightning.merging.method import Method


@dataclass(frozen=True)
class OneShot(FromSources):
    """Source models merged once.

    Attributes:
        method: a registered merge method.
        parameters: the method's parameters that are not its defaults.
        text: for methods that read text: the ``target``'s, each source's own (``sources``) or ``both``; None: the
            method's default.
        num_examples: for those: train utterances of each locale.
    """

    name: ClassVar[str] = "one_shot"
    summary: ClassVar[str] = "source models merged once, by any merge method"

    method: str = "linear"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    text: Mode | None = None
    num_examples: int = 100

    @property
    def merge_method(self) -> "Method":
        """The registered method; raises UserError for an unknown one."""
        from mu_lightning.merging.registry import find_method

        return find_method(self.method)

    @property
    def needs_base(self) -> bool:
        """Whether the tensors that the models started from are needed."""
        from mu_lightning.merging.engine.job import needs_base

        return needs_base(self.method, self.parameters)

    @property
    def text_mode(self) -> Mode | None:
        """Whose text the method reads; None for a method that reads none."""
        if not self.merge_method.needs_statistics:
            return None
        return self.text or DEFAULT_MODES.get(self.method, "target")

    def check(self) -> None:
        """Raises UserError for an unknown method or parameter, too few sources, or unknown text too."""
        from mu_lightning.merging.engine.job import plan_job

        super().check()
        method = self.merge_method
        count = max(self.num_languages or method.min_sources, method.min_sources)
        if self.num_languages is not None and self.num_languages < method.min_sources:
            raise UserError(f"{method.name} merges at least {method.min_sources} sources, not {self.num_languages}")
        names = [f"source {number}" for number in range(min(count, method.max_sources or count))]
        plan_job(
            method,
            dict.fromkeys(names, 1.0 / len(names)),
            names,
            has_base=True,
            has_statistics=bool(method.needs_statistics),
            parameters=self.parameters,
        )
        if self.text is not None and self.text not in MODES:
            raise unknown("fisher data mode", str(self.text), MODES)
        if self.num_examples < 1:
            raise UserError(f"num_fisher_examples is {self.num_examples}: at least 1 utterance is needed")

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The sources and their weights, no more sources than the method merges."""
        most = self.merge_method.max_sources
        if most is None or self.num_languages is None or self.num_languages <= most:
            return super().choose(problem, available, seed)
        return replace(self, num_languages=most).choose(problem, available, seed)

    def draws(self) -> bool:
        """Whether the weights are shuffled, or the method is stochastic."""
        return (self.merge_method.takes_weights and super().draws()) or self.merge_method.random

    def label(self) -> str:
        """The method, its parameters, and where its weights come from."""
        shown = " ".join(f"{name} {value}" for name, value in sorted(self.parameters.items()))
        method = f"{self.method} ({shown})" if shown else self.method
        return self.named("merged once", method, weighs=self.merge_method.takes_weights)

    def needs(self, cell: Cell) -> Needs:
        """The source models, the base, and text."""
        text = dict.fromkeys(tag for source in cell.sources for tag in self.text_of(cell.target, source))
        return Needs(models={tag: (tag,) for tag in cell.sources}, base=self.needs_base, text=tuple(text))

    def text_of(self, target: str, source: str) -> tuple[str, ...]:
        """The locales whose text is read for a source."""
        mode = self.text_mode
        return () if mode is None else {"target": (target,), "sources": (source,), "both": (source, target)}[mode]

    def build(self, cell: Cell, inputs: "Inputs", folder: Path) -> Built:
        """Merges in memory."""
        from mu_lightning.merging.engine.in_memory import merge_tensors

        merged = merge_tensors(
            self.merge_method,
            {tag: inputs.state(tag) for tag in cell.sources},
            cell.weights,
            base=inputs.base() if self.needs_base or self.merge_method.sees_base else None,
            parameters=self.parameters,
            statistics=inputs.statistics(cell),
            seed=cell.seed,
            device=inputs.context.device,
        )
        supervision = "none" if self.text_mode in (None, "sources") else "target-unlabelled"
        return Built(inputs.classifier(merged), supervision)  # type: ignore[arg-type]

    def plain(self) -> dict[str, Any]:
        """Every parameter; what the method does not read is None, so that it makes no difference."""
        values = super().plain()
        if not self.merge_method.takes_weights:
            values |= {"preweight": None, "weights": None}
        reads = self.text_mode is not None
        return values | {"text": self.text_mode, "num_examples": self.num_examples if reads else None}
