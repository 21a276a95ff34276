"""Collects stored results and the N-by-N matrix."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.evaluation.statistics.resampling import Correctness
from mu_lightning.reporting.evidence import Entry, Evidence, Method
from mu_lightning.reporting.filtering import Filters, filtered, only_one, scored_targets
from mu_lightning.results.identity import Identity, digest_of
from mu_lightning.results.matrix import NByN
from mu_lightning.results.naming import names
from mu_lightning.results.results import Predictions
from mu_lightning.results.store import Damage, Store, StoredCell
from mu_lightning.utilities.errors import UserError


def gather(store: Store, nxn: NByN | None, filters: Filters) -> Evidence:
    """Collects the results of a store and the matrix.

    Raises:
        UserError: no results; filters without matches; results of several corpora or splits; a matrix without one of
            the targets, or with other rows than the results.
    """
    if not store.cells and nxn is None:
        raise UserError(_nothing(store))
    cells = filtered(store, filters)
    corpus = only_one("corpus", [cell.corpus for cell in cells] + ([nxn.corpus] if nxn else []))
    split = only_one("split", [cell.split for cell in cells] + ([nxn.split] if nxn else []))
    builder = _Builder(store, nxn)
    builder.add_cells(cells)
    targets = scored_targets(cells, nxn, filters)
    if nxn is not None:
        builder.add_matrix(targets)
    builder.add_baselines(targets, every_model=nxn is not None)
    if not builder.entries:
        raise UserError(
            f"no results to report on in {store.folder}: it holds scores of single source models alone; "
            "name an N-by-N matrix with --nxn, or a folder that 'sweep', 'ensemble' or 'fit --target-lang' wrote"
        )
    return Evidence(
        store, nxn, tuple(targets), builder.methods, builder.entries, builder.accuracies, builder.source_marks,
        tuple(builder.left_out), corpus, split,
    )  # fmt: skip


def _nothing(store: Store) -> str:
    parts = [f"no results to report on in {store.folder}"]
    if store.failed:
        parts.append(f"{len(store.failed)} failed, the first with: {store.failed[0].error}")
    if store.damaged:
        parts.append(f"{len(store.damaged)} are damaged, the first: {store.damaged[0].reason}")
    return "; ".join(parts)


@dataclass
class _Builder:
    store: Store
    nxn: NByN | None
    methods: dict[str, Method] = field(default_factory=dict)
    entries: dict[tuple[str, str], dict[int, Entry]] = field(default_factory=dict)
    accuracies: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    source_marks: dict[str, dict[str, Correctness]] = field(default_factory=lambda: defaultdict(dict))
    left_out: list[Damage] = field(default_factory=list)
    _ids: dict[bytes, np.ndarray] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)
    _alone: dict[tuple[str, str], dict[int, tuple[float, Correctness]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def add_cells(self, cells: Sequence[StoredCell]) -> None:
        """Adds results with the most common rows of their target; others are excluded."""
        found = [cell.predictions() for cell in cells]
        contents: dict[str, Counter[int]] = defaultdict(Counter)
        for cell, predictions in zip(cells, found, strict=True):
            contents[cell.target][_content(predictions)] += 1
        self._rows = {target: counts.most_common(1)[0][0] for target, counts in contents.items()}
        called = names([cell.identity for cell in cells])
        for cell, label, predictions in zip(cells, called, found, strict=True):
            if _content(predictions) == self._rows[cell.target]:
                self._add(cell, label, self._marks(predictions))
            else:
                reason = f"'{label}' was scored on other rows of {cell.target} than most results"
                self.left_out.append(Damage(cell.folder, reason))

    def _add(self, cell: StoredCell, label: str, marks: Correctness) -> None:
        if cell.kind == "single" and not competes_alone(cell.identity):
            (source,) = cell.sources
            self._alone[cell.target, source][cell.seed] = (cell.accuracy, marks)
            found = self._alone[cell.target, source].values()
            self.accuracies[cell.target][source] = float(np.mean([accuracy for accuracy, _ in found]))
            self.source_marks[cell.target][source] = _mean([one for _, one in found])
            if source != cell.target:
                return
        seeds = self.entries.setdefault((label, cell.target), {})
        if cell.seed in seeds:
            other = seeds[cell.seed].cell
            where = "" if other is None else f" in {other.folder.relative_to(self.store.folder)}"
            reason = f"a second result of '{label}' on {cell.target} with seed {cell.seed}, beside the one{where}"
            self.left_out.append(Damage(cell.folder, reason))
            return
        seeds[cell.seed] = Entry(cell.accuracy, cell.macro_f1, marks, cell.sources, cell)
        known = self.methods.get(label)
        training = cell.identity.get("training")
        self.methods[label] = Method(
            label,
            cell.kind,
            cell.preweight,
            cell.method,
            len(cell.sources),
            family_of(cell.identity),
            None if training is None else digest_of(training),
            _more(known.supervision if known else "none", cell.supervision),
        )

    def add_matrix(self, targets: Iterable[str]) -> None:
        """Adds the scores of all source models."""
        assert self.nxn is not None
        for target in targets:
            self.accuracies[target].update(self.nxn.column(target))
        for source in self.nxn.sources:
            for target, found in self.nxn.row(source).items():
                if target not in self.accuracies:
                    continue
                if target in self._rows and self._rows[target] != _content(found):
                    raise UserError(
                        f"the N-by-N matrix in {self.nxn.folder} scored other rows of {target} than the results in "
                        f"{self.store.folder}: they are of another split, release or limit"
                    )
                self.source_marks[target][source] = self._marks(found)

    def add_baselines(self, targets: Iterable[str], every_model: bool) -> None:
        """Adds baselines from single source models, unless the store has them.

        Args:
            targets: the targets.
            every_model: whether all source models were scored; else the scored ones count as all if there are more than
                the methods used.
        """
        used: dict[str, set[str]] = defaultdict(set)
        for (_, target), seeds in self.entries.items():
            used[target] |= {source for entry in seeds.values() for source in entry.sources}
        for target in targets:
            column, marks = self.accuracies[target], self.source_marks[target]
            finders: list[Any] = [baselines.native]
            if every_model or set(column) - used[target] - {target}:
                finders += [baselines.best_zero_shot, baselines.mean_zero_shot]
            for find in finders:
                found = find(target, column, marks)
                if found is None or (found.name, target) in self.entries:
                    continue
                sources = (found.source,) if found.source else ()
                entry = Entry(found.accuracy, float("nan"), found.marks, sources)
                self.entries[found.name, target] = {0: entry}
                supervision = "target-labels" if found.name == baselines.NATIVE else "none"
                self.methods.setdefault(found.name, Method(found.name, "baseline", supervision=supervision))

    def _marks(self, found: Predictions) -> Correctness:
        ids = np.asarray(found.ids)
        return Correctness(self._ids.setdefault(ids.tobytes(), ids), found.labels == found.predictions)


def competes_alone(identity: Identity) -> bool:
    """Whether a single model is a method: it must be selected without scores."""
    return identity.get("source") == "nearest"


def family_of(identity: Identity) -> str:
    """Identity of an approach without its weight source."""
    approach = {key: value for key, value in identity.approach.items() if key not in ("preweight", "weights")}
    problem = {key: value for key, value in identity.problem.items() if key not in ("target", "sources")}
    return digest_of([approach, problem])


def _mean(marks: Sequence[Correctness]) -> Correctness:
    """Mean correctness per row over seeds."""
    if len(marks) == 1:
        return marks[0]
    return Correctness(marks[0].ids, np.mean([one.right for one in marks], axis=0))


def _content(found: Predictions) -> int:
    return hash((np.asarray(found.ids).tobytes(), np.asarray(found.labels, dtype=np.int64).tobytes()))


def _more(one: str, other: str) -> str:
    order = ("none", "source-dev", "target-unlabelled", "target-dev-labels", "target-labels")
    return max(one, other, key=order.index)
