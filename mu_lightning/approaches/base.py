"""What an approach is: typed parameters, what it needs, and how it becomes something that classifies.

An approach is added as one file with a frozen dataclass and one line in `mu_lightning.approaches.registry`. It then
appears in `sweep`, `fit --compare`, the report, `--help`, the Python API and the tests that run over all approaches.
Nothing here imports torch, so that grids are planned and checked without it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from mu_lightning.approaches.problem import Problem
from mu_lightning.results.identity import Identity, digest_of, plain
from mu_lightning.results.results import Supervision
from mu_lightning.settings import TRAINER_DEFAULTS, GuardSettings, ModelSettings
from mu_lightning.training.checkpointing.same_run import FREE
from mu_lightning.typology.plan import SourcePlan

if TYPE_CHECKING:
    from torch import Tensor, nn

    from mu_lightning.approaches.evaluation_context import EvaluationContext, Tensors
    from mu_lightning.models.classifier import IntentClassifier

# Lightning's own defaults of the arguments that decide a result: to name one of them is to say nothing.
_NEUTRAL = {
    "max_steps": -1,
    "accumulate_grad_batches": 1,
    "overfit_batches": 0.0,
    "check_val_every_n_epoch": 1,
    "inference_mode": True,
    "reload_dataloaders_every_n_epochs": 0,
}


@dataclass(frozen=True)
class Training:
    """How models are trained where an approach trains any.

    Attributes:
        model: the model and its optimization; its ``base`` is the problem's.
        trainer: arguments of Lightning's Trainer that decide a result, such as ``max_epochs``.
        guard: what happens when training goes wrong in one model.
    """

    model: ModelSettings = field(default_factory=ModelSettings)
    trainer: Mapping[str, Any] = field(default_factory=dict)
    guard: GuardSettings = field(default_factory=GuardSettings)

    def plain(self) -> dict[str, Any]:
        """Itself as plain values, without what the problem says."""
        values: dict[str, Any] = plain(self)
        del values["model"]["base"]
        del values["guard"]  # it only decides what happens when something breaks
        trainer = {**TRAINER_DEFAULTS, **self.trainer}
        values["trainer"] = {key: plain(value) for key, value in sorted(trainer.items()) if _decides(key, value)}
        return values


@dataclass(frozen=True)
class Needs:
    """What an approach needs before it is built.

    Attributes:
        models: name -> the locales that the model is trained on.
        base: whether it needs the tensors that the models started from.
        text: the locales whose train text it reads, without labels.
        dev: the locales whose labeled dev rows it reads; never the target.
        trains: whether it trains on its own: it then resumes from its own checkpoint, and takes long.
    """

    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    base: bool = False
    text: tuple[str, ...] = ()
    dev: tuple[str, ...] = ()
    trains: bool = False


@dataclass(frozen=True)
class Built:
    """What an approach came to.

    Attributes:
        classifier: maps a batch to logits of shape (B, classes).
        supervision: what it has looked at of the target.
        details: what else there is to tell, as plain values, such as merge weights.
    """

    classifier: "nn.Module"
    supervision: Supervision = "none"
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Approach(ABC):
    """A way to a classifier, with every parameter that its result depends on.

    Attributes:
        name: its name in the registry.
        summary: what it is, in a line of help.
    """

    name: ClassVar[str]
    summary: ClassVar[str]

    def check(self) -> None:  # noqa: B027 (most parameters are checked by their types)
        """Raises UserError for parameters that are unknown, out of range or contradict each other."""

    def choose(self, problem: Problem, available: Collection[str], seed: int) -> SourcePlan | None:
        """The sources that it takes of those that there are, and their weights; None where it takes none.

        Raises:
            UserError: fewer sources than it takes, or a setting that does not fit.
        """
        return None

    def fixed_sources(self, problem: Problem) -> tuple[str, ...]:
        """The sources of an approach that chooses none."""
        return ()

    def draws(self) -> bool:
        """Whether its result depends on the seed even when no model is trained for it."""
        return False

    @abstractmethod
    def label(self) -> str:
        """What it is called in tables, beside approaches of other names."""

    @abstractmethod
    def needs(self, cell: "Cell") -> Needs:
        """What it needs for a cell."""

    def vote(self, cell: "Cell") -> tuple[str, Mapping[str, float]] | None:
        """A vote and its models' weights, where it only asks for the logits of models: several then share a pass."""
        return None

    @abstractmethod
    def build(self, cell: "Cell", inputs: "Inputs", folder: Path) -> Built:
        """Makes what classifies.

        Args:
            cell: the problem, the seed, and the sources that `choose` gave.
            inputs: the models, the base and the text that `needs` asked for.
            folder: for what must outlast an interruption, such as checkpoints; an earlier attempt may have left some.
        """

    def plain(self) -> dict[str, Any]:
        """Its name and every parameter, as plain values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values = {key: value.plain() if isinstance(value, Training) else plain(value) for key, value in values.items()}
        return {"approach": self.name, **values}


@dataclass(frozen=True)
class Cell:
    """One problem, one approach, one seed: the unit of a sweep and of a results folder.

    Attributes:
        problem: what is to be solved.
        approach: how.
        seed: of the trainings and of what is drawn.
        plan: the sources and weights that the approach takes, None where it takes none.
    """

    problem: Problem
    approach: Approach
    seed: int = 0
    plan: SourcePlan | None = None

    @property
    def target(self) -> str:
        """The locale that is scored."""
        return self.problem.target

    @property
    def sources(self) -> tuple[str, ...]:
        """The locales whose models or rows it takes, in order."""
        return self.approach.fixed_sources(self.problem) if self.plan is None else self.plan.sources

    @property
    def weights(self) -> dict[str, float]:
        """Source -> weight; empty where there are none."""
        return {} if self.plan is None else self.plan.weights

    @cached_property
    def needs(self) -> Needs:
        """What its approach needs."""
        return self.approach.needs(self)

    @property
    def training(self) -> Training | None:
        """How the models that it takes are trained; None where they are given."""
        found: Training | None = getattr(self.approach, "training", None)
        return found

    @property
    def trained(self) -> bool:
        """Whether the models that it takes are trained for it."""
        return self.training is not None

    @cached_property
    def models(self) -> dict[str, str]:
        """The name of each model that it takes -> its name among all models: one training's differ from another's."""
        if self.training is None:
            return {name: name for name in self.needs.models}
        key = training_key(self.problem, self.training, self.seed)
        return {name: f"{name}@{key}" for name in self.needs.models}

    @cached_property
    def identity(self) -> Identity:
        """What its result is of."""
        return identity_of(self.problem, self.approach, self.seed, self.sources)

    @property
    def key(self) -> str:
        """Its folder's name below its target's: for people what it is called, for everything else its digest."""
        words = re.sub(r"[^A-Za-z0-9]+", "-", self.approach.label()).strip("-")[:40].strip("-")
        return f"{words}-{self.identity.digest[:8]}"


class TextStatistics(Protocol):
    """How a merge learns from text what is of this merge alone."""

    def __call__(self, cell: Cell, context: "EvaluationContext") -> "Mapping[str, Mapping[str, Tensor]]":
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

    context: "EvaluationContext"
    models: Mapping[str, str] = field(default_factory=dict)
    shared: "Mapping[str, Tensors] | None" = None
    own: TextStatistics | None = None

    def state(self, name: str) -> "dict[str, Tensor]":
        """A model's tensors in float32, to be read only."""
        return self.context.state(self.models.get(name, name))

    def model(self, name: str) -> "IntentClassifier":
        """A model as it is, with its temperature, on the context's device."""
        return self.context.model(self.models.get(name, name))

    def classifier(self, state: "Mapping[str, Tensor]") -> "IntentClassifier":
        """A classifier with these tensors, on the context's device."""
        return self.context.classifier(state)

    def base(self) -> "Mapping[str, Tensor] | None":
        """The tensors that the models started from, where they are known."""
        return None if self.context.base is None else self.context.base.load()

    def statistics(self, cell: Cell) -> "Mapping[str, Mapping[str, Tensor]] | None":
        """Source -> tensor name -> what the method has to know of the source's behavior; None for most methods."""
        if self.own is not None:
            return self.own(cell, self.context)
        if self.shared is not None:
            return {source: found.load() for source, found in self.shared.items()}
        return None


def _decides(name: str, value: Any) -> bool:
    """Whether an argument of the Trainer decides a result, and says anything."""
    free = f"trainer.{name}".startswith(FREE) or name == "callbacks"
    return not free and value is not None and value is not False and _NEUTRAL.get(name) != value


def identity_of(problem: Problem, approach: Approach, seed: int, sources: Collection[str]) -> Identity:
    """What a result is of.

    Args:
        problem: what was to be solved.
        approach: how.
        seed: of trainings and draws.
        sources: the sources that the approach took, in order.
    """
    return Identity(problem.plain(sources), approach.plain(), seed, approach.label())


def training_key(problem: Problem, training: Training, seed: int) -> str:
    """Tells trainings apart by all that a model depends on but the locales that it is trained on."""
    values = problem.plain()
    return digest_of([values["base"], values["data"], training.plain(), seed])[:12]
