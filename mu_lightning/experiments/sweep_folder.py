"""A checked sweep, and what its folder holds: a manifest, a folder a cell, tables of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.tasks import Scored
from mu_lightning.experiments.grid import Grid
from mu_lightning.experiments.merge_details import merge_details
from mu_lightning.results.cells import write_cell
from mu_lightning.results.identity import plain
from mu_lightning.results.naming import names
from mu_lightning.results.provenance import read_manifest, versions
from mu_lightning.results.results import Result
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, refuse_existing, write_json
from mu_lightning.utilities.reading import read_json_object
from mu_lightning.utilities.table_cells import safe_frame
from mu_lightning.utilities.tables import counted, text_table

MANIFEST = "sweep.json"
_FIELDS = {"problem": dict, "models": dict}


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        grid: what was asked.
        folder: where results go.
        cells: every cell, target by target.
        given: source -> model folder or hub id, where models are given.
        context: tokenized splits, and the models that are given.
    """

    grid: Grid
    folder: Path
    cells: Sequence[Cell]
    given: Mapping[str, Path | str]
    context: EvaluationContext

    def place(self, cell: Cell) -> Path:
        """A cell's folder."""
        return self.folder / cell.target / cell.key

    def describe(self) -> str:
        """How many cells of which approach, in a line."""
        kinds = Counter(cell.approach.name for cell in self.cells)
        parts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        targets = len({cell.target for cell in self.cells})
        return f"{counted(len(self.cells), 'cell')} for {counted(targets, 'target')} ({parts}), in {self.folder}"


def store(sweep: Sweep, cell: Cell, found: Scored, files: Sequence[Path] = ()) -> None:
    """Writes a cell: scores, what ran, how to recompute it.

    Args:
        sweep: the sweep.
        cell: the cell.
        found: its scores, under its key.
        files: copied into its folder.
    """
    supervision = found.supervision
    if cell.target in cell.sources:
        supervision = "target-labels"
    details = ({"weights": cell.weights} if cell.weights else {}) | dict(found.details)
    models = sweep.context.fingerprints["models"]
    write_cell(
        sweep.place(cell),
        [Result(cell.identity, found.scores[cell.key], supervision, details)],
        cost=found.cost(cell.key),
        recipe=recipe_of(cell, sweep.given),
        fingerprints={
            "rows": {cell.target: sweep.context.fingerprints["rows"][cell.target]},
            "models": {name: models[own] for name, own in cell.models.items() if own in models},
        },
        merge_details=merge_details(cell, sweep.given) if isinstance(cell.approach, OneShot) else None,
        files=files,
    )


def recipe_of(cell: Cell, given: Mapping[str, Path | str]) -> dict[str, Any]:
    """What recomputes a cell beside its identity: where its data, base and models lie."""
    problem = cell.problem
    return {
        "command": "sweep",
        "problem": {**plain(problem), "sources": list(cell.sources)},
        "models": {} if cell.trained else {name: str(given[name]) for name in cell.needs.models},
    }


def _manifest(sweep: Sweep) -> dict[str, Any]:
    problem = sweep.grid.problems[0].plain()
    return {
        "problem": {key: value for key, value in problem.items() if key not in ("target", "sources")},
        "models": {name: str(path) for name, path in sweep.given.items()},
        "fingerprints": {kind: dict(found) for kind, found in sweep.context.fingerprints.items()},
        "targets": [one.target for one in sweep.grid.problems],
        "approaches": [approach.plain() for approach in sweep.grid.approaches],
        "seeds": list(sweep.grid.seeds),
        "versions": versions(),
    }


def check_earlier(sweep: Sweep) -> None:
    """Refuses to put cells beside others that were made from other data or models."""
    path = sweep.folder / MANIFEST
    if not path.is_file():
        refuse_existing(sweep.folder, "something else than a sweep")
        return
    earlier, here = _earlier(path), _manifest(sweep)
    for kind in ("rows", "models"):
        before, now = earlier["fingerprints"].get(kind, {}), here["fingerprints"].get(kind, {})
        changed = [name for name in before if name in now and before[name] != now[name]]
        if changed:
            raise UserError(
                f"the {kind} of {', '.join(changed)} have changed since {sweep.folder} was made: name another "
                "--output-dir"
            )


def _earlier(path: Path) -> dict[str, Any]:
    """What an earlier sweep wrote; raises UserError for that of an earlier version."""
    if "scoring" in read_json_object(path):
        raise UserError(
            f"{path.parent} holds a sweep of an earlier version, whose cells cannot stand beside those of this one: "
            "name another --output-dir"
        )
    return read_manifest(path, _FIELDS)


def write_manifest(sweep: Sweep) -> None:
    """Writes what the cells are made of, beside what those of earlier sweeps in the folder were."""
    here, path = _manifest(sweep), sweep.folder / MANIFEST
    if path.is_file():
        earlier = _earlier(path)
        here["models"] = earlier["models"] | here["models"]
        for kind in ("rows", "models"):
            here["fingerprints"][kind] = earlier["fingerprints"][kind] | here["fingerprints"][kind]
    write_json(path, here)


def write_tables(folder: Path) -> None:
    """Writes every cell under `folder` as one table, ``cells.csv`` and ``cells.parquet``."""
    table = read_store(folder).table()
    with atomic_file(folder / "cells.csv") as temporary:
        safe_frame(table).to_csv(temporary, index=False)
    with atomic_file(folder / "cells.parquet") as temporary:
        table.to_parquet(temporary, index=False)


def summary(sweep: Sweep) -> str:
    """The mean accuracy over targets and seeds of everything that every target has, the best first."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    alone: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    errors: dict[str, list[float]] = defaultdict(list)
    cells = read_store(sweep.folder).cells
    for name, cell in zip(names([cell.identity for cell in cells]), cells, strict=True):
        if cell.kind == "single" and cell.target not in cell.sources and cell.identity.get("source") != "nearest":
            alone[cell.target][cell.seed].append(cell.accuracy)
        else:
            scores[name][cell.target].append(cell.accuracy)
            errors[name] += [] if cell.calibration_error is None else [cell.calibration_error]
    for target, seeds in alone.items():
        scores["best single source (picked using test labels)"][target] = [max(values) for values in seeds.values()]
        scores["mean of single sources"][target] = [float(np.mean(values)) for values in seeds.values()]
    rows = []
    for name, by_target in scores.items():
        values = [float(np.mean(found)) for found in by_target.values()]
        error = f"{np.mean(errors[name]):.3f}" if errors.get(name) else ""
        rows.append((name, float(np.mean(values)), min(values), max(values), len(values), error))
    rows.sort(key=lambda row: (-row[4], -row[1]))
    return text_table(
        ("", "mean accuracy", "least", "most", "ECE", "targets"),
        [
            (name, f"{mean:.4f}", f"{low:.3f}", f"{high:.3f}", error, str(count))
            for name, mean, low, high, count, error in rows
        ],
    )
