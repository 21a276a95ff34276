"""Problems by approaches by seeds: plans the cells, runs those that are missing, and stores each as it ends."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext, prepare, prepare_rows, scoring_of, with_dev
from mu_lightning.approaches.from_text.learning import LearningTask, own_learning, shared_learning, with_text
from mu_lightning.approaches.joint import GIVEN
from mu_lightning.approaches.tasks import BuildTask, Outcome, PanelTask, Task
from mu_lightning.experiments.grid import Grid, check_grid, expand
from mu_lightning.experiments.sweep_folder import Sweep, check_earlier, store, write_manifest, write_tables
from mu_lightning.experiments.trainings import trainings_of
from mu_lightning.experiments.workers import Workers
from mu_lightning.results.cells import KEPT_FILES, is_whole, write_failure
from mu_lightning.results.store import ERROR
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import clear_temporaries
from mu_lightning.utilities.progress import progress

SHARED, RUNS = ".shared", ".runs"


def plan_sweep(
    grid: Grid,
    folder: Path,
    *,
    models: Mapping[str, Path | str] | None = None,
    joint_model: Path | str | None = None,
) -> Sweep:
    """Checks the grid, models and data against each other, and what `folder` holds of an earlier sweep.

    Args:
        grid: what is asked.
        folder: where results go.
        models: source -> model folder or hub id, where source models are given.
        joint_model: a model of several locales, where one is given.

    Raises:
        UserError: whatever would make a cell fail that can be known before.
    """
    check_grid(grid)
    problem = grid.problems[0]
    corpus = problem.open()
    targets = [one.target for one in grid.problems]
    available = [tag for tag in corpus.locales if tag not in targets] if models is None else list(models)
    cells = expand(grid, available)
    if not cells:
        raise UserError("the sweep has no cells: none of its targets has what its approaches need")
    given = dict(models or {}) | ({} if joint_model is None else {GIVEN: joint_model})
    sweep = Sweep(grid, folder, tuple(cells), given, context_of(cells, given))
    check_earlier(sweep)
    return sweep


def context_of(cells: Sequence[Cell], given: Mapping[str, Path | str]) -> EvaluationContext:
    """What cells are scored in: the rows, and the models that are given."""
    problem = cells[0].problem
    targets = list(dict.fromkeys(cell.target for cell in cells))
    used = {name for cell in cells if not cell.trained for name in cell.needs.models}
    lacking = sorted(used - set(given))
    if lacking:
        raise UserError(f"no model is given for {', '.join(lacking)}: name --models-dir, or let the sweep train models")
    if not used:
        return prepare_rows(scoring_of(problem), problem.base, targets)
    wanted = {name: path for name, path in given.items() if name in used}
    base = problem.base if any(cell.needs.base for cell in cells) else None
    context = prepare(scoring_of(problem), wanted, targets, base=base)
    return _with_rows(context, [cell for cell in cells if not cell.trained])


def run_sweep(sweep: Sweep, workers: Workers) -> list[Cell]:
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
    failures: list[Cell] = []
    for cell, outcome in progress(outcomes(sweep, workers, waiting), len(waiting), "cells"):
        run = sweep.folder / RUNS / cell.key
        try:
            if not outcome.error:
                store(sweep, cell, outcome.value, [run / name for name in KEPT_FILES if (run / name).is_file()])
                shutil.rmtree(run, ignore_errors=True)
                continue
            write_failure(sweep.place(cell), outcome.error, outcome.traceback, cell.identity.plain())
        except UserError as error:  # something else has come into its place
            print(f"{sweep.place(cell)} is not stored: {error}", flush=True)
        failures.append(cell)
    if not failures:
        _remove_shared(sweep.folder / SHARED)
        with suppress(OSError):
            (sweep.folder / RUNS).rmdir()
    write_tables(sweep.folder)
    return failures


def _remove_shared(folder: Path) -> None:
    """Removes what merges learned from texts, which no cell needs any more."""
    clear_temporaries(folder)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    with suppress(OSError):  # not there, or with something of somebody's in it
        folder.rmdir()


def outcomes(sweep: Sweep, workers: Workers, waiting: Sequence[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Runs cells and gives each with what came of it: first what trains, then what is made of trained models."""
    training = [cell for cell in waiting if cell.needs.trains]
    resting = [cell for cell in waiting if not cell.needs.trains]
    models = trainings_of(resting, sweep.folder)
    builds = [BuildTask(cell, sweep.folder / RUNS / cell.key) for cell in training]
    # The longest first: what trains on several locales, then models of one.
    pooled, single = (
        [task for task in models.values() if (len(task.locales) > 1) == several] for several in (True, False)
    )
    tasks: list[Task] = [*pooled, *builds, *single]
    names = {id(task): name for name, task in models.items()}
    places: dict[str, Path | str] = {}
    broken: dict[str, Outcome] = {}
    for task, outcome in workers.outcomes(sweep.context, tasks):
        if isinstance(task, BuildTask):
            yield task.cell, outcome
        elif outcome.error:
            broken[names[id(task)]] = outcome
        else:
            places[names[id(task)]] = outcome.value
    usable = []
    for cell in resting:
        lost = next((broken[name] for name in cell.models.values() if name in broken), None)
        if lost is None:
            usable.append(cell)
        else:
            yield cell, lost
    if usable:
        yield from _of_models(sweep, workers, usable, places)


def _of_models(
    sweep: Sweep, workers: Workers, cells: Sequence[Cell], trained: Mapping[str, Path | str]
) -> Iterator[tuple[Cell, Outcome]]:
    """Runs what is made of models: merges, after what they learn from text; votes, in shared passes."""
    context = _with_models(sweep.context, cells, trained)
    shared = sweep.folder / SHARED if workers.share_files else None
    needed = {cell.key: shared_learning(cell, cell.models, context, shared) for cell in cells}
    learning = {task.key: task for found in needed.values() for task in found.values()}
    done = workers.outcomes(context, list(learning.values()))
    learned = {task.key: outcome for task, outcome in done if isinstance(task, LearningTask)}
    work: list[tuple[Task, list[Cell]]] = []
    for cell in cells:
        if cell.approach.vote(cell) is not None:
            continue
        found = {source: learned[task.key] for source, task in needed[cell.key].items()}
        lost = next((outcome for outcome in found.values() if outcome.error), None)
        if lost is not None:
            yield cell, lost
            continue
        statistics = {source: outcome.value for source, outcome in found.items()} or None
        own = own_learning(cell, cell.models, context)
        work.append((BuildTask(cell, sweep.folder / RUNS / cell.key, cell.models, statistics, own), [cell]))
    voting = [cell for cell in cells if cell.approach.vote(cell) is not None]
    again: list[Cell] = []
    for own_cells, outcome in _run(context, workers, [*work, *panels(voting)]):
        if outcome.error and len(own_cells) > 1:
            again += own_cells
        else:
            yield from ((cell, outcome) for cell in own_cells)
    # What shared a pass with a cell that failed is tried on its own.
    for own_cells, outcome in _run(context, workers, [pair for cell in again for pair in panels([cell])]):
        yield own_cells[0], outcome


def _with_models(
    context: EvaluationContext, cells: Sequence[Cell], trained: Mapping[str, Path | str]
) -> EvaluationContext:
    """The context with the models that were trained; they are checked as given ones are."""
    if not trained:
        return context
    problem = cells[0].problem
    base = problem.base if any(cell.needs.base for cell in cells) else None
    added = prepare(scoring_of(problem), trained, [], base=base)
    models = {**context.fingerprints["models"], **added.fingerprints["models"]}
    whole = replace(
        context,
        models={**context.models, **added.models},
        temperatures={**context.temperatures, **added.temperatures},
        config=added.config,
        base=added.base or context.base,
        fingerprints={**context.fingerprints, "models": models},
    )
    return _with_rows(whole, cells)


def _with_rows(context: EvaluationContext, cells: Sequence[Cell]) -> EvaluationContext:
    """The context with the text, and with the labeled dev rows of sources, that the cells read."""
    tuned_on = list(dict.fromkeys(tag for cell in cells for tag in cell.needs.dev))
    return with_dev(with_text(context, cells), cells[0].problem, tuned_on) if cells else context


def panels(cells: Sequence[Cell]) -> Iterator[tuple[PanelTask, list[Cell]]]:
    """Cells that only ask for models' logits: a target's in one pass for each seed, each model once."""
    groups: dict[tuple[str, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[cell.target, cell.seed if cell.trained else -1].append(cell)
    for (target, _), own in groups.items():
        votes: dict[str, Any] = {}
        for cell in own:
            vote, weights = cell.approach.vote(cell) or ("", {})
            votes[cell.key] = (vote, {cell.models[name]: weight for name, weight in weights.items()})
        members = tuple(dict.fromkeys(name for _, weights in votes.values() for name in weights))
        yield PanelTask(target, members, votes), own


def _run(
    context: EvaluationContext, workers: Workers, work: Sequence[tuple[Task, list[Cell]]]
) -> Iterator[tuple[list[Cell], Outcome]]:
    owners = {id(task): cells for task, cells in work}
    for task, outcome in workers.outcomes(context, [task for task, _ in work]):
        yield owners[id(task)], outcome
