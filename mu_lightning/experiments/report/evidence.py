"""What there is to compare: each method's results by target and seed, on the same rows, beside single source models."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.errors import UserError, unknown
from mu_lightning.evaluation.statistics import baselines
from mu_lightning.evaluation.statistics.resampling import Marks
from mu_lightning.experiments.matrix import NByN
from mu_lightning.experiments.results import Predictions
from mu_lightning.experiments.store import Cell, Damage, Store

JOINT = "joint multilingual"
UNIFORM = "uniform average"
OWN_RUN = ", own run"  # of results of `fit --compare`, whose sources were trained in that run
# Chosen by the rows that they are scored on: no method that one could use.
ORACLES = (baselines.BEST_SOURCE, baselines.BEST_ZERO_SHOT)
_BASELINES = {
    "native": baselines.NATIVE,
    "best_source": baselines.BEST_SOURCE,
    "best_zero_shot": baselines.BEST_ZERO_SHOT,
    "mean_zero_shot": baselines.MEAN_ZERO_SHOT,
    "joint": JOINT,
    "uniform_average": UNIFORM,
}
# The words of the older scripts' --experiment-types for what are now two arguments.
OLD_TYPES = {"similarity": ("merge", "uriel"), "average": ("merge", "equal")}
_TELLING = ("num_languages", "base")  # what tells methods apart where it differs within a results folder


@dataclass(frozen=True)
class Method:
    """A row of the report's tables: one way to classify, whatever the target and the seed.

    Attributes:
        label: what it is called.
        kind: the cells' experiment type.
        preweight: where its weights come from, None where it has none.
        method: the merge method, None where nothing is merged.
        num_languages: how many sources it takes.
        family: what stays the same when only the weights come from elsewhere.
        supervision: the most that any of its results has looked at of its target.
    """

    label: str
    kind: str
    preweight: str | None = None
    method: str | None = None
    num_languages: int | None = None
    family: tuple[Any, ...] = ()
    supervision: str = "none"

    @property
    def zero_shot(self) -> bool:
        """Whether it has seen no label of the target."""
        return self.supervision in ("none", "target-unlabelled")

    @property
    def competes(self) -> bool:
        """Whether it is a way to classify a language without labels, which excludes upper bounds and mere means."""
        label = self.label.removesuffix(OWN_RUN)
        return self.zero_shot and label not in (*ORACLES, baselines.MEAN_ZERO_SHOT)


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
    marks: Marks | None
    sources: tuple[str, ...] = ()
    cell: Cell | None = None


@dataclass(frozen=True)
class Filters:
    """Which results to report on; None is all.

    Attributes:
        locales: targets.
        experiment_types: the cells' types, or ``similarity`` and ``average`` as the older scripts named them.
        corpus: of a folder with results of several corpora.
        split: of a folder with results of several splits.
    """

    locales: Sequence[str] | None = None
    experiment_types: Sequence[str] | None = None
    corpus: str | None = None
    split: str | None = None


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
    source_marks: Mapping[str, Mapping[str, Marks]]
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
    def cells(self) -> list[tuple[str, Cell]]:
        """Every stored result that is reported on, with its method's label."""
        return [
            (label, entry.cell)
            for (label, _), seeds in self.entries.items()
            for entry in seeds.values()
            if entry.cell is not None
        ]


def gather(store: Store, nxn: NByN | None, filters: Filters) -> Evidence:
    """Puts the store's results and the matrix side by side.

    Raises:
        UserError: nothing to report on; a filter names what is not there or leaves nothing; results of several corpora
            or splits; a matrix without one of the targets, or of other rows than the results.
    """
    if not store.cells and nxn is None:
        raise UserError(_nothing(store))
    cells = _filtered(store, filters)
    corpus = _one("corpus", [cell.corpus for cell in cells] + ([nxn.corpus] if nxn else []))
    split = _one("split", [cell.split for cell in cells] + ([nxn.split] if nxn else []))
    builder = _Builder(store, nxn)
    builder.add_cells(cells)
    targets = _targets(cells, nxn, filters)
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


def labels(cells: Sequence[Cell]) -> list[str]:
    """What the cells' methods are called: what they are, and whatever else tells them apart within these cells."""
    plain = [_plain_label(cell) for cell in cells]
    known: dict[str, dict[str, set[Any]]] = defaultdict(lambda: defaultdict(set))
    for cell, label in zip(cells, plain, strict=True):
        for name in _TELLING:
            if getattr(cell, name) is not None and cell.experiment_type != "baseline":
                known[label][name].add(getattr(cell, name))
    named = []
    for cell, label in zip(cells, plain, strict=True):
        more = [_telling(cell, name) for name in _TELLING if len(known[label][name]) > 1]
        named.append(", ".join([label, *filter(None, more)]))
    return _told_apart(cells, named)


def _plain_label(cell: Cell) -> str:
    weights = {"uriel": "URIEL", "shuffled": "shuffled URIEL"}.get(cell.preweight or "", cell.preweight)
    if cell.experiment_type == "baseline":
        return _BASELINES.get(cell.method or "", cell.method or cell.name)
    if cell.experiment_type == "merge":
        return ", ".join(filter(None, (cell.method, weights)))
    if cell.experiment_type == "ensemble":
        return ", ".join(filter(None, (f"vote {cell.vote}", weights)))
    if cell.experiment_type == "iterative":
        return ", ".join(filter(None, (f"iterative {cell.method}", weights)))
    return cell.name


def _telling(cell: Cell, name: str) -> str:
    value = getattr(cell, name)
    if value is None:
        return ""
    return f"{value} source{'s' if value > 1 else ''}" if name == "num_languages" else str(value)


def _told_apart(cells: Sequence[Cell], named: Sequence[str]) -> list[str]:
    """Adds what recipes differ in (a feature set, a method's parameter) where two methods would share a name."""
    groups: dict[tuple[str, str, int | None], list[dict[str, Any]]] = defaultdict(list)
    for cell, label in zip(cells, named, strict=True):
        if cell.recipe:
            groups[label, cell.target, cell.seed].append(_choices(cell))
    telling: dict[str, set[str]] = defaultdict(set)
    for (label, _, _), group in groups.items():
        for key in {key for choices in group for key in choices}:
            if len({repr(choices.get(key)) for choices in group}) > 1:
                telling[label].add(key)
    result = []
    for cell, label in zip(cells, named, strict=True):
        choices = _choices(cell)
        more = [f"{key.replace('_', ' ')} {choices[key]}" for key in sorted(telling[label]) if key in choices]
        result.append(", ".join([label, *more]))
    return result


def _choices(cell: Cell) -> dict[str, Any]:
    """What a result's recipe chose beside what the cell says itself: typology's settings, the method's parameters."""
    recipe = cell.recipe
    parts = [recipe.get("typology"), (recipe.get("task") or {}).get("parameters")]
    return {str(key): value for part in parts if isinstance(part, Mapping) for key, value in part.items()}


@dataclass
class _Builder:
    store: Store
    nxn: NByN | None
    methods: dict[str, Method] = field(default_factory=dict)
    entries: dict[tuple[str, str], dict[int, Entry]] = field(default_factory=dict)
    accuracies: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    source_marks: dict[str, dict[str, Marks]] = field(default_factory=lambda: defaultdict(dict))
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

    def _add(self, cell: Cell, label: str, marks: Marks) -> None:
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
        more = label.removeprefix(_plain_label(cell))
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

    def _marks(self, found: Predictions) -> Marks:
        ids = np.asarray(found.ids)
        return Marks(self._ids.setdefault(ids.tobytes(), ids), found.labels == found.predictions)


def _content(found: Predictions) -> int:
    return hash((np.asarray(found.ids).tobytes(), np.asarray(found.labels, dtype=np.int64).tobytes()))


def _more(one: str, other: str) -> str:
    order = ("none", "target-unlabelled", "target-dev-labels", "target-labels")
    return max(one, other, key=order.index)


def _nothing(store: Store) -> str:
    parts = [f"no results to report on in {store.folder}"]
    if store.failed:
        parts.append(f"{len(store.failed)} failed, the first with: {store.failed[0].error}")
    if store.damaged:
        parts.append(f"{len(store.damaged)} are damaged, the first: {store.damaged[0].reason}")
    return "; ".join(parts)


def _filtered(store: Store, filters: Filters) -> list[Cell]:
    cells = list(store.cells)
    for name in ("corpus", "split"):
        wanted = getattr(filters, name)
        if wanted is not None:
            known = {getattr(cell, name) for cell in cells} - {None}
            if known and wanted not in known:
                raise unknown(f"{name} of the results", wanted, known)
            cells = [cell for cell in cells if getattr(cell, name) in (wanted, None)]
    types = {cell.experiment_type for cell in cells}
    for wanted in filters.experiment_types or ():
        if cells and wanted not in types | set(OLD_TYPES):
            raise unknown("experiment type", wanted, types)
    chosen = [cell for cell in cells if _of_type(cell, filters.experiment_types)]
    if filters.locales is not None:
        chosen = [cell for cell in chosen if cell.target in filters.locales]
    if cells and not chosen:
        raise UserError(
            f"the filters leave nothing of the {len(cells)} results in {store.folder}: there are the targets "
            f"{', '.join(sorted({cell.target for cell in cells}))} and the experiment types {', '.join(sorted(types))}"
        )
    return chosen


def _of_type(cell: Cell, wanted: Sequence[str] | None) -> bool:
    # Single source models are no experiment: they say what the others have to beat.
    if wanted is None or cell.experiment_type in (*wanted, "source"):
        return True
    return (cell.experiment_type, cell.preweight) in [OLD_TYPES[name] for name in wanted if name in OLD_TYPES]


def _targets(cells: Sequence[Cell], nxn: NByN | None, filters: Filters) -> list[str]:
    scored = {cell.target for cell in cells if cell.experiment_type != "source"}
    if not scored and nxn is not None:
        scored = set(nxn.locales) & set(filters.locales or nxn.locales)
    for wanted in filters.locales or ():
        if wanted not in scored:
            raise unknown("target of the results", wanted, scored)
    return sorted(scored)


def _one(what: str, given: Sequence[str | None]) -> str | None:
    found = sorted({one for one in given if one is not None})
    if len(found) > 1:
        raise UserError(
            f"the results are of several kinds of {what} ({', '.join(found)}), which do not compare: "
            f"choose one with --{what}, and a matrix of the same"
        )
    return found[0] if found else None
