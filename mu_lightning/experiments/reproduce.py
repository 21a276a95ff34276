"""Computes stored results anew, trainings included, and says whether the predictions are the same."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import Field

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import prepare, scoring_of
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.reading import read_problem, recorded_approach
from mu_lightning.approaches.tasks import Outcome, RowTask
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.experiments.grid import Grid
from mu_lightning.experiments.sweep import context_of, outcomes
from mu_lightning.experiments.sweep_folder import Sweep
from mu_lightning.experiments.workers import Workers
from mu_lightning.results.matrix import ROWS
from mu_lightning.results.provenance import versions
from mu_lightning.results.store import RESULTS, StoredCell, is_matrix, read_cells, read_store
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.records import Record, read_record

# Commands that score a model folder as it is, on any locales.
SCORES_MODELS = ("nxn", "test", "validate")


@dataclass(frozen=True)
class Verdict:
    """Whether a stored result came out again.

    Attributes:
        folder: the result's folder.
        agrees: whether every prediction is the same.
        text: what was found, in a line.
    """

    folder: Path
    agrees: bool
    text: str


class _Recipe(Record):
    """How a result came about."""

    command: str
    problem: dict[str, Any]
    models: dict[str, str]


class _Result(Record):
    """What `reproduce` reads of ``results.json`` beside the scores."""

    recipe: _Recipe | None = None
    fingerprints: dict[str, dict[str, str]] = Field(default_factory=dict)
    versions: dict[str, str | None] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Stored:
    """A result's folder: its cells and how they came about."""

    folder: Path
    cells: list[StoredCell]
    record: _Result

    @property
    def recipe(self) -> _Recipe:
        """How it came about; raises UserError if it does not say."""
        if self.record.recipe is None:
            raise UserError(f"{self.folder} does not say how it came about: it has no recipe")
        return self.record.recipe


def reproduce(
    folder: Path, workers: Workers, *, models_dir: Path | None = None, data_dir: Path | None = None
) -> Iterator[Verdict]:
    """Recomputes the result in `folder`, or every result below it.

    Args:
        folder: a result's folder, a results folder or an N-by-N folder.
        workers: where to compute.
        models_dir: where the models are, if not where they were; by the names of their folders.
        data_dir: where the corpus is, if not where it was.

    Raises:
        UserError: there is no result; one says not how it came about; its models or data are not there any more.
    """
    groups: dict[str, list[_Stored]] = defaultdict(list)
    for stored in _stored(folder):
        recipe = stored.recipe
        if recipe.command in SCORES_MODELS:
            yield from _scored_again(stored, workers, models_dir, data_dir)
            continue
        problem = {key: value for key, value in recipe.problem.items() if key not in ("target", "sources")}
        groups[json.dumps([problem, recipe.models], sort_keys=True)].append(stored)
    for group in groups.values():
        yield from _built_again(group, workers, models_dir, data_dir)


def _stored(folder: Path) -> list[_Stored]:
    if (folder / RESULTS).is_file():
        places = [folder]
    elif is_matrix(folder):
        places = sorted(path.parent for path in folder.glob(f"{ROWS}/[!.]*/{RESULTS}"))
    else:
        store = read_store(folder)
        places = list(dict.fromkeys(cell.folder for cell in store.cells))
        places += [path.parent for nxn in store.matrices for path in sorted(nxn.glob(f"{ROWS}/[!.]*/{RESULTS}"))]
    if not places:
        raise UserError(f"no result in {folder} that could be recomputed")
    found = []
    for place in places:
        try:
            cells = read_cells(place)
        except UserError as error:
            raise UserError(f"{place} is damaged: {error}") from error
        found.append(_Stored(place, cells, read_record(place / RESULTS, _Result, "a result that can be recomputed")))
    return found


def _problem(stored: _Stored, data_dir: Path | None) -> Problem:
    problem = read_problem(stored.recipe.problem)
    if data_dir is None:
        return problem
    return replace(problem, data=replace(problem.data, data_dir=data_dir))


def _built_again(
    group: Sequence[_Stored], workers: Workers, models_dir: Path | None, data_dir: Path | None
) -> Iterator[Verdict]:
    """Builds cells again, as a sweep does, in a folder of their own."""
    owners: dict[str, list[tuple[_Stored, StoredCell]]] = defaultdict(list)
    cells: dict[str, Cell] = {}
    for stored in group:
        problem = _problem(stored, data_dir)
        for stored_cell in stored.cells:
            cell = _cell(problem, stored_cell)
            cells[cell.key] = cell
            owners[cell.key].append((stored, stored_cell))
    given = {name: _place(path, models_dir) for name, path in group[0].recipe.models.items()}
    every = list(cells.values())
    with TemporaryDirectory(prefix="mu-lightning-") as scratch:
        grid = Grid([cell.problem for cell in every], [])
        sweep = Sweep(grid, Path(scratch), every, given, context_of(every, given))
        for cell, outcome in outcomes(sweep, workers, every):
            for stored, stored_cell in owners[cell.key]:
                found = None if outcome.error else outcome.value.scores[cell.key]
                yield _verdict(stored, stored_cell, outcome, sweep.context.fingerprints, found)


def _cell(problem: Problem, stored: StoredCell) -> Cell:
    approach = recorded_approach(stored.identity)
    own = replace(problem, target=stored.target, sources=stored.sources or None)
    return Cell(own, approach, stored.seed, approach.choose(own, stored.sources, stored.seed))


def _scored_again(
    stored: _Stored, workers: Workers, models_dir: Path | None, data_dir: Path | None
) -> Iterator[Verdict]:
    """Scores a model folder again on the locales that it was scored on."""
    if len(stored.recipe.models) != 1:
        raise UserError(f"{stored.folder} is of {len(stored.recipe.models)} models: expected one")
    ((name, path),) = stored.recipe.models.items()
    locales = tuple(dict.fromkeys(cell.target for cell in stored.cells))
    problem = _problem(stored, data_dir)
    context = prepare(scoring_of(problem), {name: _place(path, models_dir)}, locales)
    ((_, outcome),) = workers.outcomes(context, [RowTask(name, locales)])
    for cell in stored.cells:
        found = None if outcome.error else outcome.value.scores[cell.target]
        yield _verdict(stored, cell, outcome, context.fingerprints, found)


def _verdict(
    stored: _Stored,
    cell: StoredCell,
    outcome: Outcome,
    fingerprints: Mapping[str, Mapping[str, str]],
    now: Scores | None,
) -> Verdict:
    """Compares a stored result with what was found for it."""
    what = f"{cell.identity.label} on {cell.target}"
    if now is None:
        return Verdict(stored.folder, False, f"{what}: cannot be recomputed: {outcome.error}")
    changed = _changed(stored.record, fingerprints)
    before = cell.predictions()
    if before.ids.tolist() != now.ids.tolist():
        return Verdict(stored.folder, False, f"{what}: other rows are scored now{changed}")
    different, rows = int(np.sum(before.predictions != now.predictions)), len(before.ids)
    if different:
        text = (
            f"{different} of {rows} predictions differ, accuracy {cell.accuracy:.4f} then and {now.accuracy:.4f} "
            f"now{changed}"
        )
    else:
        text = f"all {rows} predictions are the same, accuracy {now.accuracy:.4f}"
    return Verdict(stored.folder, not different, f"{what}: {text}")


def _changed(record: _Result, fingerprints: Mapping[str, Mapping[str, str]]) -> str:
    """What is not as it was when the result was made."""
    parts = []
    for kind, before in record.fingerprints.items():
        now = fingerprints.get(kind, {})
        other = [name for name in before if name in now and before[name] != now[name]]
        parts += [f"the {kind} of {', '.join(other)} have changed"] if other else []
    here = versions()
    other = [f"{name} {was} -> {here.get(name)}" for name, was in record.versions.items() if here.get(name) != was]
    parts += [f"versions: {', '.join(other)}"] if other else []
    return f" ({'; '.join(parts)})" if parts else ""


def _place(path: str, models_dir: Path | None) -> Path | str:
    """Where a model is: where it was, or under its folder's name in `models_dir`."""
    if models_dir is not None:
        return models_dir / Path(path).name
    return Path(path) if Path(path).is_dir() else path
