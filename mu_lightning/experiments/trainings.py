"""The trainings that a sweep's cells need, each once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from mu_lightning.approaches.base import Cell, Training, training_key
from mu_lightning.approaches.trained import TrainTask
from mu_lightning.results.identity import digest_of

MODELS, RUNS = "models", ".runs"


def trainings_of(cells: Sequence[Cell], folder: Path) -> Iterator[TrainTask]:
    """The trainings that cells need whose models are not given; the longest first.

    Models of one locale that are trained alike, with one seed, are trained side by side in one run.

    Args:
        cells: what is to be built.
        folder: the sweep's: ``models/<training>/`` gets the model folders.
    """
    wanted: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    owners: dict[str, tuple[Cell, Training]] = {}
    for cell in cells:
        training = cell.training
        if training is None or cell.needs.trains:
            continue
        key = training_key(cell.problem, training, cell.seed)
        owners[key] = cell, training
        wanted[key] |= cell.needs.models
    tasks = []
    for key, models in wanted.items():
        cell, training = owners[key]
        single = {name: locales for name, locales in sorted(models.items()) if len(locales) == 1}
        groups = [{name: locales} for name, locales in models.items() if len(locales) > 1]
        for group in [*groups, single] if single else groups:
            run = folder / RUNS / f"{key}-{digest_of(group)[:8]}"
            tasks.append(TrainTask(cell.problem, training, group, cell.seed, run, folder / MODELS / key))
    return iter(sorted(tasks, key=lambda task: -sum(map(len, task.models.values()))))


def model_names(task: TrainTask) -> dict[str, str]:
    """Name of a task's model in a cell's needs -> its name in the evaluation context."""
    key = training_key(task.problem, task.training, task.seed)
    return {name: f"{name}@{key}" for name in task.models}
