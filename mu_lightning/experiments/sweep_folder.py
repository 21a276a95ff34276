"""A checked sweep, and what its folder holds: a manifest, a folder a cell, tables of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.approaches.evaluation_context import Bench, Scoring
from mu_lightning.approaches.from_text.learning import Learning
from mu_lightning.approaches.one_shot import merge_details
from mu_lightning.approaches.tasks import Scored
from mu_lightning.experiments.grid import Grid, Planned
from mu_lightning.merging.registry import find_method
from mu_lightning.results.cells import write_cell
from mu_lightning.results.provenance import read_manifest, versions
from mu_lightning.results.results import Result, Supervision
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, refuse_existing, write_json
from mu_lightning.utilities.tables import counted, text_table

MANIFEST = "sweep.json"
JOINT = "joint"
_FIELDS = {"scoring": dict, "base": str | None, "learning": dict, "typology": dict, "models": dict}


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        grid: what was asked.
        scoring: what is scored.
        models: source -> model folder or hub id; the joint model is among them.
        base: folder or hub id of what the sources started from.
        learning: which texts methods that learn from texts read.
        folder: where results go.
        cells: every cell, target by target.
        bench: models, tokenised splits and texts.
    """

    grid: Grid
    scoring: Scoring
    models: Mapping[str, Path | str]
    base: Path | str | None
    learning: Learning
    folder: Path
    cells: Sequence[Planned]
    bench: Bench

    def place(self, cell: Planned) -> Path:
        """A cell's folder."""
        return self.folder / cell.target / cell.key

    def describe(self) -> str:
        """How many cells of which kind, in a line."""
        kinds = Counter(cell.kind for cell in self.cells)
        parts = ", ".join(counted(count, kind) for kind, count in kinds.items())
        targets = len({cell.target for cell in self.cells})
        return f"{counted(len(self.cells), 'cell')} for {counted(targets, 'target')} ({parts}), in {self.folder}"


def store(sweep: Sweep, cell: Planned, found: Scored) -> None:
    """Writes a cell: scores, what ran, how to recompute it."""
    part = own_part(cell, found)
    scores = found.scores[part]
    merged = cell.kind == "merge"
    write_cell(
        sweep.place(cell),
        [Result(cell.name, scores, _supervision(sweep, cell), found.details)],
        described(sweep, cell),
        cost=found.cost(part),
        recipe=_recipe(sweep, cell),
        fingerprints={
            "rows": {cell.target: sweep.bench.fingerprints["rows"][cell.target]},
            "models": {name: sweep.bench.fingerprints["models"][name] for name in cell.sources},
        },
        merge_details=merge_details(cell, sweep.models, sweep.base) if merged else None,
    )


def own_part(cell: Planned, found: Scored) -> str:
    """What a cell's scores are called among its task's."""
    if cell.kind == "ensemble":
        return cell.key
    return cell.target if cell.target in found.scores else cell.sources[0]


def _supervision(sweep: Sweep, cell: Planned) -> Supervision:
    if cell.kind == "merge":
        return sweep.learning.supervision(cell)
    return "target-labels" if cell.target in cell.sources else "none"


def described(sweep: Sweep, cell: Planned) -> dict[str, Any]:
    """A cell in the terms of the results store."""
    base = sweep.base
    return {
        "target": cell.target,
        "experiment_type": cell.kind,
        "method": cell.method,
        "parameters": dict(cell.parameters),
        "preweight": cell.preweight,
        "vote": cell.vote,
        "num_languages": None if cell.method == JOINT else len(cell.sources),
        "seed": cell.seed,
        "sources": [] if cell.method == JOINT else list(cell.sources),
        "weights": dict(cell.weights),
        "corpus": sweep.scoring.corpus,
        "split": sweep.scoring.split,
        "base": None if base is None else Path(base).name,
    }


def _recipe(sweep: Sweep, cell: Planned) -> dict[str, Any]:
    method = None if cell.kind != "merge" else find_method(cell.method or "")
    own = {key: value for key, value in asdict(cell).items() if value not in (None, {})}
    return {
        "verb": "sweep",
        "scoring": sweep.scoring.plain(),
        "models": {name: str(sweep.models[name]) for name in cell.sources},
        "base": str(sweep.base) if method is not None and method.sees_base and sweep.base is not None else None,
        "task": {"kind": "cell", "cell": own},
        "learning": sweep.learning.plain() if method is not None and method.needs_statistics else None,
        "typology": {key: None if value is None else str(value) for key, value in asdict(sweep.grid.typology).items()},
    }


def _manifest(sweep: Sweep) -> dict[str, Any]:
    return {
        "scoring": sweep.scoring.plain(),
        "base": None if sweep.base is None else str(sweep.base),
        "learning": sweep.learning.plain(),
        "typology": {key: None if value is None else str(value) for key, value in asdict(sweep.grid.typology).items()},
        "models": {name: str(path) for name, path in sweep.models.items()},
        "fingerprints": {kind: dict(found) for kind, found in sweep.bench.fingerprints.items()},
        "grid": {key: value for key, value in asdict(replace(sweep.grid)).items() if key != "typology"},
        "versions": versions(),
    }


def check_earlier(sweep: Sweep) -> None:
    """Refuses to put cells beside others of the same name that were made otherwise."""
    path = sweep.folder / MANIFEST
    if not path.is_file():
        refuse_existing(sweep.folder, "something else than a sweep")
        return
    earlier, here = read_manifest(path, _FIELDS), _manifest(sweep)
    for part in ("scoring", "base", "learning", "typology"):
        if earlier[part] != here[part] and None not in (earlier[part], here[part]):
            raise UserError(
                f"{sweep.folder} holds a sweep with another {part} ({_difference(earlier[part], here[part])}): "
                "name another --output-dir"
            )
    for kind in ("rows", "models"):
        before, now = earlier["fingerprints"][kind], here["fingerprints"][kind]
        changed = [name for name in before if name in now and before[name] != now[name]]
        if changed:
            raise UserError(
                f"the {kind} of {', '.join(changed)} have changed since {sweep.folder} was made: name another "
                "--output-dir"
            )


def _difference(before: Any, now: Any) -> str:
    if not isinstance(before, dict):
        return f"{before} there, {now} asked for"
    return ", ".join(
        f"{key} {before[key]} there, {now.get(key)} asked for" for key in before if before[key] != now[key]
    )


def write_manifest(sweep: Sweep) -> None:
    """Writes what the cells are made of, beside what those of earlier sweeps in the folder were."""
    here, path = _manifest(sweep), sweep.folder / MANIFEST
    if path.is_file():
        earlier = read_manifest(path, _FIELDS)
        here["base"] = here["base"] or earlier["base"]
        here["models"] = earlier["models"] | here["models"]
        for kind in ("rows", "models"):
            here["fingerprints"][kind] = earlier["fingerprints"][kind] | here["fingerprints"][kind]
    write_json(path, here)


def write_tables(folder: Path) -> None:
    """Writes every cell under `folder` as one table, ``cells.csv`` and ``cells.parquet``."""
    table = read_store(folder).table()
    with atomic_file(folder / "cells.csv") as temporary:
        table.to_csv(temporary, index=False)
    with atomic_file(folder / "cells.parquet") as temporary:
        table.to_parquet(temporary, index=False)


def summary(sweep: Sweep) -> str:
    """The mean accuracy over the targets of everything that every target has, the best first."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in read_store(sweep.folder).cells:
        if cell.experiment_type != "source":
            count = "" if cell.num_languages in (None, 1) else f", {cell.num_languages} sources"
            scores[cell.name + count][cell.target].append(cell.accuracy)
        elif cell.target not in cell.sources:
            scores["best of the sources scored alone"][cell.target].append(cell.accuracy)
            scores["mean of the sources scored alone"][cell.target].append(cell.accuracy)
    rows = []
    for name, by_target in scores.items():
        over = max if name.startswith("best of") else np.mean
        values = [float(over(values)) for values in by_target.values()]
        rows.append((name, float(np.mean(values)), min(values), max(values), len(values)))
    rows.sort(key=lambda row: (-row[4], -row[1]))
    return text_table(
        ("", "mean accuracy", "least", "most", "targets"),
        [(name, f"{mean:.4f}", f"{low:.3f}", f"{high:.3f}", str(count)) for name, mean, low, high, count in rows],
    )
