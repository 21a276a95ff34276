"""What a run that merges while training is compared with: ``fit --compare``, a grid of its own in the run's folder."""

from mu_lightning.approaches.fitted import iterative_of, problem_of, training_of
from mu_lightning.experiments.grid import Grid
from mu_lightning.experiments.presets import comparison
from mu_lightning.experiments.sweep import plan_sweep, run_sweep
from mu_lightning.experiments.workers import Workers
from mu_lightning.results.results import Result
from mu_lightning.results.store import StoredCell, read_store
from mu_lightning.training.run import TrainingRun
from mu_lightning.utilities.errors import UserError

FOLDER = "comparison"


def compare_run(run: TrainingRun, workers: Workers) -> list[Result]:
    """Trains and scores what a run is compared with, on the run's data, base, sources and seed.

    What is in the run's folder already is not made again.

    Args:
        run: a run that merges for at least one target.
        workers: where to compute.

    Returns:
        For each target: the ceiling, the best single source, merges made once, votes and the pooled model.

    Raises:
        UserError: a cell failed; the others are kept.
    """
    plans, settings = run.plan.targets, run.settings
    problems = [problem_of(settings, plan.target, plan.sources) for plan in plans]
    approaches = comparison(iterative_of(settings, plans[0]), len(plans[0].sources), settings.tune)
    grid = Grid(problems, approaches, (run.plan.seed,), "used", training_of(settings))
    sweep = plan_sweep(grid, run.folder / FOLDER)
    run.say(f"for comparison: {sweep.describe()}")
    failures = run_sweep(sweep, workers)
    if failures:
        places = ", ".join(str(sweep.place(cell) / "error.json") for cell in failures)
        raise UserError(f"{len(failures)} of {len(sweep.cells)} cells of the comparison failed: see {places}")
    stored = {cell.identity.digest: cell for cell in read_store(sweep.folder).cells}
    cells = [stored[cell.identity.digest] for cell in sweep.cells]
    return [result for plan in plans for result in _of_target(plan.target, cells)]


def _of_target(target: str, cells: list[StoredCell]) -> list[Result]:
    """A target's results; of single sources the best alone, which is picked using test labels."""
    own = [cell for cell in cells if cell.target == target]
    sources = [cell for cell in own if cell.kind == "single" and target not in cell.sources]
    best = max(sources, key=lambda cell: cell.accuracy)
    results = []
    for cell in own:
        if cell is best:
            results.append(cell.result(f"best of {len(sources)}, by test labels"))
        elif cell not in sources:
            results.append(cell.result())
    order = {"single": 0, "one_shot": 1, "tuned": 2, "ensemble": 3, "joint": 4}
    return sorted(results, key=lambda result: order[result.identity.kind])
