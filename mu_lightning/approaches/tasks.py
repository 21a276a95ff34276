"""Tasks of `nxn`, `ensemble` and `sweep`: plain values in, scores out."""

import resource
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mu_lightning.approaches.base import Cell, Inputs, TextStatistics
from mu_lightning.approaches.evaluation_context import EvaluationContext, Tensors, model_bytes
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.models.ensemble import Panel
from mu_lightning.results.results import Supervision
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.file_stamps import watched_files


@dataclass(frozen=True)
class Resources:
    """Resources of a task.

    Attributes:
        threads: number of CPU threads, limited by the machine.
        device: whether it needs exclusive use of a GPU, if there are GPUs.
    """

    threads: int = 1
    device: bool = False


ONE_THREAD = Resources()


class Task(Protocol):
    """A unit of work, which is pickled to a worker."""

    @property
    def name(self) -> str:
        """Name in the progress display."""

    @property
    def resources(self) -> Resources:
        """Required resources."""

    def run(self, context: EvaluationContext) -> Any:
        """Runs the task."""


@dataclass(frozen=True)
class Outcome:
    """Outcome of a task: a value or an error."""

    value: Any = None
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Scored:
    """Scores by name, with their costs.

    Attributes:
        scores: name -> scores on one locale.
        seconds: name -> wall time.
        peak_bytes: the worker's largest resident memory so far.
        model_bytes: name -> size of the parameters that classified.
        supervision: what of the target was looked at.
        details: what else there is to tell, as plain values.
    """

    scores: Mapping[str, Scores]
    seconds: Mapping[str, float]
    peak_bytes: int
    model_bytes: Mapping[str, int]
    supervision: Supervision = "none"
    details: Mapping[str, Any] = field(default_factory=dict)

    def cost(self, name: str) -> dict[str, float]:
        """Returns the cost of a result, for the results store."""
        return {
            "seconds": round(self.seconds[name], 4),
            "peak_bytes": self.peak_bytes,
            "model_bytes": self.model_bytes[name],
        }


def attempt(task: Task, context: EvaluationContext) -> Outcome:
    """Runs a task and captures errors in the outcome, among them that a file that it read has changed."""
    try:
        with watched_files():
            return Outcome(task.run(context))
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".rstrip(": ")
        return Outcome(error=said, traceback=traceback.format_exc())


@dataclass(frozen=True)
class BuildTask:
    """An approach built for a cell, and its scores on the target.

    Attributes:
        cell: what is built.
        folder: for what must outlast an interruption.
        models: the name of a model in the cell's needs -> its name in the context.
        shared: source -> what a merge method has to know of it from text.
        own: instead, how the merge learns it itself.
        resources: what it takes while it runs.
    """

    cell: Cell
    folder: Path
    models: Mapping[str, str] = field(default_factory=dict)
    shared: Mapping[str, Tensors] | None = None
    own: TextStatistics | None = None
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """Name in the progress display."""
        return f"{self.cell.target}: {self.cell.identity.label}"

    def run(self, context: EvaluationContext) -> Scored:
        """Builds and scores."""
        started = time.perf_counter()
        inputs = Inputs(context, self.models, self.shared, self.own)
        built = self.cell.approach.build(self.cell, inputs, self.folder)
        took = time.perf_counter() - started
        classifier = built.classifier.to(context.device)
        scores = evaluate(classifier, context.loaders([self.cell.target]))[self.cell.target]
        key = self.cell.key
        return Scored(
            {key: scores},
            {key: time.perf_counter() - started},
            peak_bytes(),
            {key: model_bytes(dict(classifier.named_parameters()))},
            built.supervision,
            {"build_seconds": round(took, 4), **built.details},
        )


@dataclass(frozen=True)
class RowTask:
    """Evaluates one model on all locales: a row of the N-by-N matrix."""

    source: str
    locales: tuple[str, ...]
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.source

    def run(self, context: EvaluationContext) -> Scored:
        """Evaluates the model."""
        started = time.perf_counter()
        state = context.state(self.source)
        scores = evaluate(context.model(self.source, state), context.loaders(self.locales))
        # One pass for all locales; the time is divided by rows.
        each = (time.perf_counter() - started) / max(1, sum(len(found.ids) for found in scores.values()))
        seconds = {tag: each * len(found.ids) for tag, found in scores.items()}
        return Scored(scores, seconds, peak_bytes(), dict.fromkeys(self.locales, model_bytes(state)))


@dataclass(frozen=True)
class PanelTask:
    """Models that answer a locale's rows once, and everything that is asked of their answers.

    Attributes:
        locale: whose rows.
        members: the models' names in the context, in order.
        votes: name in the results -> (vote, model -> weight); models without a weight do not vote.
        resources: what it takes while it runs.
    """

    locale: str
    members: tuple[str, ...]
    votes: Mapping[str, tuple[str, Mapping[str, float]]]
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """Name in the progress display."""
        return f"{self.locale}: {len(self.members)} models, {len(self.votes)} votes"

    def run(self, context: EvaluationContext) -> Scored:
        """Computes each model's logits once and lets the models vote."""
        started = time.perf_counter()
        states = {name: context.state(name) for name in self.members}
        panel = Panel({name: context.model(name, state) for name, state in states.items()}, self.votes)
        found = evaluate_named(panel, context.loaders([self.locale]))
        # The models' logits are shared: a vote is charged with its own models' part of them.
        each = (time.perf_counter() - started) / len(self.members)
        voters = {name: [member for member in self.members if member in w] for name, (_, w) in self.votes.items()}
        return Scored(
            {name: scores[self.locale] for name, scores in found.items()},
            {name: each * len(voters[name]) for name in found},
            peak_bytes(),
            {name: sum(model_bytes(states[member]) for member in voters[name]) for name in found},
        )


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
