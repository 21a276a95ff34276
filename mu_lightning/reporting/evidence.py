"""Results to compare: each method by target and seed, with single source models."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.evaluation.statistics.resampling import Correctness
from mu_lightning.results.matrix import NByN
from mu_lightning.results.store import Damage, Store, StoredCell

JOINT = "one model on pooled data"
EQUAL_AVERAGE = "average with equal weights"
# Selected on the test rows: upper bounds, not methods.
ORACLES = (baselines.BEST_SOURCE, baselines.BEST_ZERO_SHOT)


@dataclass(frozen=True)
class Method:
    """A method of the report, independent of target and seed.

    Attributes:
        label: label of the method.
        kind: its approach's name, ``baseline`` for what single source models make, ``model`` for a tested folder.
        preweight: weight source, or None.
        method: merge method, or None.
        num_languages: number of sources.
        family: identity of the method without its weight source.
        training: training settings of its models, None for given models.
        supervision: maximum supervision of its results.
    """

    label: str
    kind: str
    preweight: str | None = None
    method: str | None = None
    num_languages: int | None = None
    family: str = ""
    training: str | None = None
    supervision: str = "none"

    @property
    def zero_shot(self) -> bool:
        """Whether it uses no target labels."""
        return self.supervision in ("none", "source-dev", "target-unlabelled")

    @property
    def competes(self) -> bool:
        """Whether it is a method for languages without labels; excludes upper bounds and means."""
        return self.zero_shot and self.label not in (*ORACLES, baselines.MEAN_ZERO_SHOT)


@dataclass(frozen=True, eq=False)
class Entry:
    """Result of a method on one target with one seed.

    Attributes:
        accuracy: accuracy, 0 to 1.
        macro_f1: macro F1, 0 to 1; NaN if unknown.
        marks: correctness per row; None without stored predictions.
        sources: source locales, in order.
        cell: the stored result; None for results of the N-by-N matrix.
    """

    accuracy: float
    macro_f1: float
    marks: Correctness | None
    sources: tuple[str, ...] = ()
    cell: StoredCell | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """All results of the report.

    Attributes:
        store: the results folder.
        nxn: the N-by-N matrix, if there is one.
        targets: targets in alphabetical order.
        methods: label -> method.
        entries: (label, target) -> seed -> entry.
        accuracies: target -> source -> accuracy of the source model.
        source_marks: target -> source -> correctness per row of the source model.
        left_out: incomparable results, with reasons.
        corpus: name of the corpus, None if unknown.
        split: name of the split, None if unknown.
    """

    store: Store
    nxn: NByN | None
    targets: tuple[str, ...]
    methods: Mapping[str, Method]
    entries: Mapping[tuple[str, str], Mapping[int, Entry]]
    accuracies: Mapping[str, Mapping[str, float]]
    source_marks: Mapping[str, Mapping[str, Correctness]]
    left_out: tuple[Damage, ...] = ()
    corpus: str | None = None
    split: str | None = None

    def folder(self, label: str, target: str) -> Path | None:
        """Folder of a method's first result on a target."""
        entries = self.entries.get((label, target), {})
        return next((entry.cell.folder for entry in entries.values() if entry.cell is not None), None)

    def accuracy(self, label: str, target: str) -> float:
        """Mean accuracy of a method over seeds on a target; NaN without results."""
        seeds = self.entries.get((label, target))
        return float(np.mean([entry.accuracy for entry in seeds.values()])) if seeds else float("nan")

    def targets_of(self, label: str) -> list[str]:
        """Targets with results of a method."""
        return [target for target in self.targets if (label, target) in self.entries]

    @cached_property
    def cells(self) -> list[tuple[str, StoredCell]]:
        """All stored results of the report, with method labels."""
        return [
            (label, entry.cell)
            for (label, _), seeds in self.entries.items()
            for entry in seeds.values()
            if entry.cell is not None
        ]
