"""Targets by merges, votes and baselines: plans the cells, runs those that are missing, and stores each as it ends."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.errors import UserError
from mu_lightning.experiments.bench import Bench, Scoring, prepare
from mu_lightning.experiments.cells import is_done, write_cell, write_failure
from mu_lightning.experiments.grid import Grid, Planned, check_grid, expand
from mu_lightning.experiments.learning import Learning, LearningTask
from mu_lightning.experiments.merge_task import MergeTask, merge_details
from mu_lightning.experiments.progress import progress
from mu_lightning.experiments.provenance import versions
from mu_lightning.experiments.results import Result, Supervision
from mu_lightning.experiments.store import ERROR, read_cells, read_store
from mu_lightning.experiments.tasks import Outcome, PanelTask, RowTask, Scored, Task
from mu_lightning.experiments.workers import Workers
from mu_lightning.files import atomic_file, clear_temporaries, write_json
from mu_lightning.merging.hub import local_folder
from mu_lightning.merging.registry import find_method
from mu_lightning.tables import counted, text_table

MANIFEST, SHARED = "sweep.json", ".shared"
JOINT = "joint"


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


def plan_sweep(
    grid: Grid,
    scoring: Scoring,
    models: Mapping[str, Path | str],
    folder: Path,
    *,
    base: Path | str | None = None,
    joint_model: Path | str | None = None,
    learning: Learning | None = None,
) -> Sweep:
    """Checks the grid, models and data against each other, and what `folder` holds of an earlier sweep.

    Args:
        grid: what is asked.
        scoring: what is scored.
        models: source -> model folder or hub id.
        folder: where results go.
        base: what the sources started from; None where no method needs it.
        joint_model: for the baseline ``joint``.
        learning: which texts methods that learn from texts read.

    Raises:
        UserError: whatever would make a cell fail that can be known before.
    """
    learning = learning or Learning()
    check_grid(grid, has_base=base is not None, has_joint=joint_model is not None)
    cells = expand(grid, list(models))
    if not cells:
        raise UserError("the sweep has no cells: none of its targets has what its baselines ask for")
    every = dict(models) | ({} if joint_model is None else {JOINT: joint_model})
    used = [name for name in every if any(name in cell.sources for cell in cells)]
    targets = list(dict.fromkeys(cell.target for cell in cells))
    bench = prepare(scoring, {name: every[name] for name in used}, targets, base=base)
    bench = with_learning(learning, bench, scoring, cells, every)
    sweep = Sweep(grid, scoring, {name: every[name] for name in used}, base, learning, folder, cells, bench)
    _check_earlier(sweep)
    return sweep


def with_learning(
    learning: Learning, bench: Bench, scoring: Scoring, cells: Sequence[Planned], models: Mapping[str, Path | str]
) -> Bench:
    """The bench with the texts that the cells' methods read; raises UserError where they are not to be had."""
    if not any(cell.kind == "merge" and find_method(cell.method or "").needs_statistics for cell in cells):
        return bench
    return learning.with_texts(bench, scoring, cells, load_tokenizer(local_folder(next(iter(models.values())))))


def run_sweep(sweep: Sweep, workers: Workers) -> list[Planned]:
    """Runs the cells that are not there yet and stores each as it ends; returns those that failed."""
    for place in {sweep.place(cell).parent for cell in sweep.cells}:
        clear_temporaries(place)
    _write_manifest(sweep)
    waiting = [cell for cell in sweep.cells if not _kept(sweep.place(cell))]
    if len(waiting) < len(sweep.cells):
        print(f"{len(sweep.cells) - len(waiting)} of {len(sweep.cells)} cells are there already", flush=True)
    failed = [cell for cell in waiting if (sweep.place(cell) / ERROR).exists()]
    if failed:
        print(f"{len(failed)} cells failed before and are tried again", flush=True)
    failures: list[Planned] = []
    for cell, outcome in progress(outcomes(sweep, workers, waiting), len(waiting), "cells"):
        if outcome.error:
            write_failure(sweep.place(cell), outcome.error, outcome.traceback, _cell(sweep, cell))
            failures.append(cell)
        else:
            _write(sweep, cell, outcome.value)
    if not failures:
        shutil.rmtree(sweep.folder / SHARED, ignore_errors=True)
    write_tables(sweep.folder)
    return failures


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


def outcomes(sweep: Sweep, workers: Workers, waiting: Sequence[Planned]) -> Iterator[tuple[Planned, Outcome]]:
    """Runs cells and gives each with what came of it: first what the merges must know from texts, then all the rest."""
    merges = [cell for cell in waiting if cell.kind == "merge"]
    shared = sweep.folder / SHARED if workers.share_files else None
    needed = sweep.learning.tasks(merges, shared, sweep.bench)
    learnt: dict[tuple[str, str, tuple[str, ...]], Outcome] = {}
    for learning, outcome in workers.outcomes(sweep.bench, needed):
        assert isinstance(learning, LearningTask)
        learnt[learning.kind, learning.source, learning.locales] = outcome
    work: list[tuple[Task, list[Planned]]] = []
    for cell in merges:
        wanted = sweep.learning.wanted(cell)
        broken = next((learnt[what] for what in wanted.values() if learnt[what].error), None)
        if broken is not None:
            yield cell, broken
            continue
        statistics = {source: learnt[what].value for source, what in wanted.items()} or None
        own = sweep.learning.for_merge(cell, sweep.bench, sweep.scoring)
        work.append((merge_task(cell, statistics, own), [cell]))
    work += _scoring_tasks([cell for cell in waiting if cell.kind != "merge"])
    again: list[Planned] = []
    for cells, outcome in _run(sweep, workers, work):
        if outcome.error and len(cells) > 1:
            again += cells
        else:
            yield from ((cell, outcome) for cell in cells)
    # What shared a pass with a cell that failed is tried on its own.
    for cells, outcome in _run(sweep, workers, [pair for cell in again for pair in _scoring_tasks([cell])]):
        yield cells[0], outcome


def _run(
    sweep: Sweep, workers: Workers, work: Sequence[tuple[Task, list[Planned]]]
) -> Iterator[tuple[list[Planned], Outcome]]:
    owners = {id(task): cells for task, cells in work}
    for task, outcome in workers.outcomes(sweep.bench, [task for task, _ in work]):
        yield owners[id(task)], outcome


def merge_task(cell: Planned, statistics: Mapping[str, Any] | None = None, own: Any = None) -> MergeTask:
    """The task of a merge's cell."""
    assert cell.method is not None
    return MergeTask(
        key=cell.key,
        locale=cell.target,
        sources=cell.sources,
        weights=cell.weights,
        method=cell.method,
        parameters=cell.parameters,
        seed=cell.seed or 0,
        statistics=statistics,
        learning=own,
    )


def _scoring_tasks(cells: Sequence[Planned]) -> Iterator[tuple[Task, list[Planned]]]:
    """The tasks that score models as they are: a target's voters in one pass, those asked for alone among them."""
    by_target: dict[str, list[Planned]] = defaultdict(list)
    for cell in cells:
        by_target[cell.target].append(cell)
    for target, own in by_target.items():
        votes = [cell for cell in own if cell.kind == "ensemble"]
        members = list(dict.fromkeys(name for cell in votes for name in cell.sources))
        together = [cell for cell in own if cell.kind != "ensemble" and cell.sources[0] in members]
        if votes:
            asked = {cell.key: (cell.vote or "", cell.weights) for cell in votes}
            yield PanelTask(target, tuple(members), asked, with_members=bool(together)), [*votes, *together]
        for cell in own:
            if cell.kind != "ensemble" and cell not in together:
                yield RowTask(cell.sources[0], (target,)), [cell]


def _write(sweep: Sweep, cell: Planned, found: Scored) -> None:
    part = own_part(cell, found)
    scores = found.scores[part]
    merged = cell.kind == "merge"
    write_cell(
        sweep.place(cell),
        [Result(cell.name, scores, _supervision(sweep, cell), found.details)],
        _cell(sweep, cell),
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


def _cell(sweep: Sweep, cell: Planned) -> dict[str, Any]:
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


def _kept(place: Path) -> bool:
    """Whether a cell is there and whole; a damaged one is removed, as nothing in it is of use."""
    if not is_done(place):
        return False
    try:
        read_cells(place)
    except UserError as error:
        print(f"{place} is damaged and made anew: {error}", flush=True)
        shutil.rmtree(place)
        return False
    return True


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


def _check_earlier(sweep: Sweep) -> None:
    """Refuses to put cells beside others of the same name that were made otherwise."""
    path = sweep.folder / MANIFEST
    if not path.is_file():
        if sweep.folder.is_dir() and any(sweep.folder.iterdir()):
            raise UserError(f"{sweep.folder} holds something else than a sweep: name another --output-dir")
        return
    earlier, here = json.loads(path.read_text(encoding="utf-8")), _manifest(sweep)
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


def _write_manifest(sweep: Sweep) -> None:
    here, path = _manifest(sweep), sweep.folder / MANIFEST
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        here["base"] = here["base"] or earlier["base"]
        here["models"] = earlier["models"] | here["models"]
        for kind in ("rows", "models"):
            here["fingerprints"][kind] = earlier["fingerprints"][kind] | here["fingerprints"][kind]
    write_json(path, here)
