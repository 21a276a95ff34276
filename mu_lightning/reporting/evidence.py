"""What there is to compare: each method's results by target and seed, on the same rows, beside single source models."""

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
# Chosen by the rows that they are scored on: no method that one could use.
ORACLES = (baselines.BEST_SOURCE, baselines.BEST_ZERO_SHOT)


@dataclass(frozen=True)
class Method:
    """A row of the report's tables: one way to classify, whatever the target and the seed.

    Attributes:
        label: what it is called.
        kind: its approach's name, ``baseline`` for what single source models make, ``model`` for a tested folder.
        preweight: where its weights come from, None where it has none.
        method: the merge method, None where nothing is merged.
        num_languages: how many sources it takes.
        family: what stays the same when only the weights come from elsewhere.
        training: how its models are trained, None where they are given.
        supervision: the most that any of its results has looked at of its target.
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
        """Whether it has seen no label of the target."""
        return self.supervision in ("none", "target-unlabelled")

    @property
    def competes(self) -> bool:
        """Whether it is a way to classify a language without labels, which excludes upper bounds and mere means."""
        return self.zero_shot and self.label not in (*ORACLES, baselines.MEAN_ZERO_SHOT)


@dataclass(frozen=True, eq=False)
class Entry:
    """A method's result on one target with one seed.

    Attributes:
        accuracy: 0 to 1.
        macro_f1: 0 to 1; NaN where unknown.
        marks: which rows it got right; None where no predictions are stored.
        sources: the sources' locales, in order.
        cell: the stored result; None for what comes from the N-by-N matrix.
    """

    accuracy: float
    macro_f1: float
    marks: Correctness | None
    sources: tuple[str, ...] = ()
    cell: StoredCell | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """Everything that the report is about.

    Attributes:
        store: the results folder.
        nxn: the N-by-N matrix, if there is one.
        targets: the targets, in the alphabet's order.
        methods: label -> method.
        entries: (label, target) -> seed -> entry.
        accuracies: target -> source -> accuracy of the source's own model there.
        source_marks: target -> source -> which of the target's rows that model got right.
        left_out: results that are whole and yet not comparable, and why.
        corpus: the corpus' name, None where no result tells.
        split: the split's.
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
        """Where a method's first result on a target is stored."""
        entries = self.entries.get((label, target), {})
        return next((entry.cell.folder for entry in entries.values() if entry.cell is not None), None)

    def accuracy(self, label: str, target: str) -> float:
        """A method's mean accuracy over seeds on a target; NaN where it has none."""
        seeds = self.entries.get((label, target))
        return float(np.mean([entry.accuracy for entry in seeds.values()])) if seeds else float("nan")

    def targets_of(self, label: str) -> list[str]:
        """The targets that a method was scored on."""
        return [target for target in self.targets if (label, target) in self.entries]

    @cached_property
    def cells(self) -> list[tuple[str, StoredCell]]:
        """Every stored result that is reported on, with its method's label."""
        return [
            (label, entry.cell)
            for (label, _), seeds in self.entries.items()
            for entry in seeds.values()
            if entry.cell is not None
        ]
