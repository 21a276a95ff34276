"""One merge in memory, of models that lie where the bench says, scored by the one loop."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor

from mu_lightning import __version__
from mu_lightning.approaches.evaluation_context import Bench, Tensors, model_bytes
from mu_lightning.approaches.tasks import Resources, Scored, peak_bytes
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.experiments.grid import Planned
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.folders.folder_report import details_text
from mu_lightning.merging.method_parameters import build_parameters
from mu_lightning.merging.registry import find_method


class OwnLearning(Protocol):
    """How a merge learns what it must know from texts, where that is of this merge alone."""

    def __call__(self, task: "MergeTask", bench: Bench) -> Mapping[str, Mapping[str, Tensor]]:
        """Source -> tensor name -> statistic."""


@dataclass(frozen=True)
class MergeTask:
    """A merge for a locale, and its scores there.

    Attributes:
        key: the cell's.
        locale: whose rows.
        sources: the models, in order.
        weights: source -> weight.
        method: the merge method's name.
        parameters: its parameters.
        seed: for methods that draw.
        statistics: source -> what the method must know of it from texts.
        learning: instead, how the merge learns it itself.
    """

    key: str
    locale: str
    sources: tuple[str, ...]
    weights: Mapping[str, float]
    method: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    statistics: Mapping[str, Tensors] | None = None
    learning: OwnLearning | None = None
    resources: ClassVar[Resources] = Resources()

    @property
    def name(self) -> str:
        """What is shown while it runs."""
        return f"{self.locale}: {self.key}"

    def merged(self, bench: Bench) -> dict[str, Tensor]:
        """The merged model's tensors."""
        method = find_method(self.method)
        statistics: Mapping[str, Mapping[str, Tensor]] | None = None
        if self.learning is not None:
            statistics = self.learning(self, bench)
        elif self.statistics is not None:
            statistics = {name: found.load() for name, found in self.statistics.items()}
        return merge_tensors(
            method,
            {name: bench.state(name) for name in self.sources},
            self.weights,
            base=bench.base.load() if method.sees_base and bench.base is not None else None,
            parameters=self.parameters,
            statistics=statistics,
            seed=self.seed,
            device=bench.device,
        )

    def run(self, bench: Bench) -> Scored:
        """Merges and scores."""
        started = time.perf_counter()
        merged = self.merged(bench)
        took = time.perf_counter() - started
        scores = evaluate(bench.classifier(merged), bench.loaders([self.locale]))
        seconds = time.perf_counter() - started
        return Scored(
            scores,
            {self.locale: seconds},
            peak_bytes(),
            {self.locale: model_bytes(merged)},
            {"merge_seconds": round(took, 4)},
        )


def merge_details(cell: Planned, models: Mapping[str, Path | str], base: Path | str | None) -> str:
    """The text of ``merge_details.txt`` for a merge's cell. Folders go by name."""
    method = find_method(cell.method or "")
    details: dict[str, Any] = {
        "version": f"mu-lightning {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": f"{cell.preweight}, {method.name}" if cell.preweight else method.name,
        "method": method.name,
        "target": cell.target,
        "preweight": cell.preweight,
        "base": Path(base).name if base is not None and method.sees_base else None,
        "seed": cell.seed,
        "sources": [
            {
                "source": name,
                "model": Path(models[name]).name,
                "weight": cell.weights[name],
                "similarity": cell.similarities[name],
            }
            for name in cell.sources
        ],
        "parameters": dataclasses.asdict(build_parameters(method, cell.parameters, cell.sources)),
        "paper": method.paper,
        "url": method.url,
    }
    return details_text({key: value for key, value in details.items() if value not in (None, {})})
