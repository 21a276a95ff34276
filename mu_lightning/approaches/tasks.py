"""The pieces of work of `nxn`, `ensemble` and `sweep`: plain values in, scores out, the same wherever they run."""

import resource
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from mu_lightning.approaches.evaluation_context import Bench, model_bytes
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.models.ensemble import Panel
from mu_lightning.utilities.errors import UserError


@dataclass(frozen=True)
class Resources:
    """What a task needs of its worker.

    Attributes:
        threads: how many cores it computes on; at most those that there are.
        device: whether it needs a GPU that no other such task uses meanwhile, where there are GPUs.
    """

    threads: int = 1
    device: bool = False


class Task(Protocol):
    """A piece of work; it is pickled to a worker, and its outcome back."""

    @property
    def name(self) -> str:
        """What is shown while it runs."""

    @property
    def resources(self) -> Resources:
        """What it needs."""

    def run(self, bench: Bench) -> Any:
        """Does it."""


@dataclass(frozen=True)
class Outcome:
    """What came of a task: a value, or the error that it ended with."""

    value: Any = None
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class Scored:
    """Scores by name, and what they took.

    Attributes:
        scores: name -> scores on one locale.
        seconds: name -> wall time.
        peak_bytes: the worker's largest resident memory so far.
        model_bytes: name -> size of the parameters that classified.
        details: what else there is to tell, as plain values.
    """

    scores: Mapping[str, Scores]
    seconds: Mapping[str, float]
    peak_bytes: int
    model_bytes: Mapping[str, int]
    details: Mapping[str, Any] = field(default_factory=dict)

    def cost(self, name: str) -> dict[str, float]:
        """What the result of that name took, as the store keeps it."""
        return {
            "seconds": round(self.seconds[name], 4),
            "peak_bytes": self.peak_bytes,
            "model_bytes": self.model_bytes[name],
        }


def attempt(task: Task, bench: Bench) -> Outcome:
    """Runs a task; an error is part of the outcome."""
    try:
        return Outcome(task.run(bench))
    except Exception as error:
        said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".rstrip(": ")
        return Outcome(error=said, traceback=traceback.format_exc())


@dataclass(frozen=True)
class RowTask:
    """One model on every locale: a row of the N-by-N matrix. The names of its scores are the locales."""

    source: str
    locales: tuple[str, ...]
    resources: ClassVar[Resources] = Resources()

    @property
    def name(self) -> str:
        """The model's."""
        return self.source

    def run(self, bench: Bench) -> Scored:
        """Scores the model."""
        started = time.perf_counter()
        state = bench.state(self.source)
        scores = evaluate(bench.classifier(state), bench.loaders(self.locales))
        # One pass for all locales, in which what is made ready is made ready once: each has its share by rows.
        each = (time.perf_counter() - started) / max(1, sum(len(found.ids) for found in scores.values()))
        seconds = {tag: each * len(found.ids) for tag, found in scores.items()}
        return Scored(scores, seconds, peak_bytes(), dict.fromkeys(self.locales, model_bytes(state)))


@dataclass(frozen=True)
class PanelTask:
    """Members that answer a locale's rows once, and everything that is asked of their answers.

    Attributes:
        locale: whose rows.
        members: the models, in order.
        votes: name in the results -> (vote, member -> weight); members without a weight do not vote.
        with_members: whether each member's own scores are given too, under its name.
    """

    locale: str
    members: tuple[str, ...]
    votes: Mapping[str, tuple[str, Mapping[str, float]]]
    with_members: bool = False
    resources: ClassVar[Resources] = Resources()

    @property
    def name(self) -> str:
        """What is shown while it runs."""
        return f"{self.locale}: {len(self.members)} members, {len(self.votes)} votes"

    def run(self, bench: Bench) -> Scored:
        """Computes each member's logits once and lets them vote."""
        started = time.perf_counter()
        states = {name: bench.state(name) for name in self.members}
        panel = Panel(
            {name: bench.classifier(state) for name, state in states.items()},
            self.votes,
            with_members=self.with_members,
        )
        found = evaluate_named(panel, bench.loaders([self.locale]))
        # The members' logits are shared: a vote is charged with its own members' part of them.
        each = (time.perf_counter() - started) / len(self.members)
        voters = {name: [member for member in self.members if member in w] for name, (_, w) in self.votes.items()}
        voters |= {name: [name] for name in self.members}
        return Scored(
            {name: scores[self.locale] for name, scores in found.items()},
            {name: each * len(voters[name]) for name in found},
            peak_bytes(),
            {name: sum(model_bytes(states[member]) for member in voters[name]) for name in found},
        )


def peak_bytes() -> int:
    """This process' largest resident memory so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
