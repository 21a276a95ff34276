"""Targets by merges, votes and baselines: plans the cells, runs those that are missing, and stores each as it ends."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mu_lightning.approaches.evaluation_context import Bench, Scoring, prepare
from mu_lightning.approaches.from_text.learning import Learning, LearningTask
from mu_lightning.approaches.one_shot import MergeTask
from mu_lightning.approaches.tasks import Outcome, PanelTask, RowTask, Task
from mu_lightning.checkpoints import load_tokenizer
from mu_lightning.experiments.grid import Grid, Planned, check_grid, expand
from mu_lightning.experiments.sweep_folder import (
    JOINT,
    Sweep,
    check_earlier,
    described,
    store,
    write_manifest,
    write_tables,
)
from mu_lightning.experiments.workers import Workers
from mu_lightning.merging.folders.hub_folders import local_folder
from mu_lightning.merging.registry import find_method
from mu_lightning.results.cells import is_whole, write_failure
from mu_lightning.results.store import ERROR
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import clear_temporaries
from mu_lightning.utilities.progress import progress

SHARED = ".shared"


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
    check_earlier(sweep)
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
    write_manifest(sweep)
    waiting = [cell for cell in sweep.cells if not is_whole(sweep.place(cell))]
    if len(waiting) < len(sweep.cells):
        print(f"{len(sweep.cells) - len(waiting)} of {len(sweep.cells)} cells are there already", flush=True)
    failed = [cell for cell in waiting if (sweep.place(cell) / ERROR).exists()]
    if failed:
        print(f"{len(failed)} cells failed before and are tried again", flush=True)
    failures: list[Planned] = []
    for cell, outcome in progress(outcomes(sweep, workers, waiting), len(waiting), "cells"):
        try:
            if not outcome.error:
                store(sweep, cell, outcome.value)
                continue
            write_failure(sweep.place(cell), outcome.error, outcome.traceback, described(sweep, cell))
        except UserError as error:  # something else has come into its place
            print(f"{sweep.place(cell)} is not stored: {error}", flush=True)
        failures.append(cell)
    if not failures:
        _remove_shared(sweep.folder / SHARED)
    write_tables(sweep.folder)
    return failures


def _remove_shared(folder: Path) -> None:
    """Removes what merges learned from texts, which no cell needs any more."""
    clear_temporaries(folder)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    with suppress(OSError):  # not there, or with something of somebody's in it
        folder.rmdir()


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
