"""Puts the stored results and the N-by-N matrix side by side."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mu_lightning.evaluation.statistics import baselines
from mu_lightning.evaluation.statistics.resampling import Correctness
from mu_lightning.reporting.evidence import OWN_RUN, Entry, Evidence, Method
from mu_lightning.reporting.filtering import Filters, filtered, only_one, scored_targets
from mu_lightning.reporting.naming import labels, plain_label
from mu_lightning.results.matrix import NByN
from mu_lightning.results.results import Predictions
from mu_lightning.results.store import Cell, Damage, Store
from mu_lightning.utilities.errors import UserError


def gather(store: Store, nxn: NByN | None, filters: Filters) -> Evidence:
    """Puts the store's results and the matrix side by side.

    Raises:
        UserError: nothing to report on; a filter names what is not there or leaves nothing; results of several corpora
            or splits; a matrix without one of the targets, or of other rows than the results.
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

    def add_cells(self, cells: Sequence[Cell]) -> None:
        """Adds the results that were scored on the rows that most of their target's were; the others are left out."""
        # Results with a recipe come first: of two of one name the other is left out.
        cells = sorted(cells, key=lambda cell: not cell.recipe)
        found = [cell.predictions() for cell in cells]
        contents: dict[str, Counter[int]] = defaultdict(Counter)
        for cell, predictions in zip(cells, found, strict=True):
            contents[cell.target][_content(predictions)] += 1
        self._rows = {target: counts.most_common(1)[0][0] for target, counts in contents.items()}
        recorded = self.nxn is not None or any(cell.recipe for cell in cells)
        for cell, label, predictions in zip(cells, labels(cells), found, strict=True):
            if recorded and not cell.recipe and cell.experiment_type in ("merge", "ensemble", "baseline"):
                label += OWN_RUN if cell.method != "joint" else ""
            if _content(predictions) == self._rows[cell.target]:
                self._add(cell, label, self._marks(predictions))
            else:
                reason = f"'{cell.name}' was scored on other rows of {cell.target} than most results"
                self.left_out.append(Damage(cell.folder, reason))

    def _add(self, cell: Cell, label: str, marks: Correctness) -> None:
        if cell.experiment_type == "source":
            (source,) = cell.sources or (cell.name,)
            self.accuracies[cell.target][source] = cell.accuracy
            self.source_marks[cell.target][source] = marks
            return
        seeds = self.entries.setdefault((label, cell.target), {})
        seed = cell.seed or 0
        if seed in seeds:
            other = seeds[seed].cell
            where = "" if other is None else f" in {other.folder.relative_to(self.store.folder)}"
            reason = f"a second result of '{label}' on {cell.target} with seed {seed}, beside the one{where}"
            self.left_out.append(Damage(cell.folder, reason))
            return
        seeds[seed] = Entry(cell.accuracy, cell.macro_f1, marks, cell.sources, cell)
        known = self.methods.get(label)
        more = label.removeprefix(plain_label(cell))
        self.methods[label] = Method(
            label,
            cell.experiment_type,
            cell.preweight,
            cell.method,
            cell.num_languages,
            (cell.experiment_type, cell.method, cell.vote, cell.num_languages, more),
            _more(known.supervision if known else "none", cell.supervision),
        )

    def add_matrix(self, targets: Iterable[str]) -> None:
        """Adds every source model's scores."""
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
        """Adds the baselines that single source models make, where the store has none of its own.

        Args:
            targets: the targets.
            every_model: whether all source models were scored; else those scored count as all where there are more than
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


def _content(found: Predictions) -> int:
    return hash((np.asarray(found.ids).tobytes(), np.asarray(found.labels, dtype=np.int64).tobytes()))


def _more(one: str, other: str) -> str:
    order = ("none", "target-unlabelled", "target-dev-labels", "target-labels")
    return max(one, other, key=order.index)
