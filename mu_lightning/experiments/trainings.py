"""The trainings that a sweep's cells need, each once."""

from collections.abc import Sequence
from pathlib import Path

from mu_lightning.approaches.base import Cell, training_key
from mu_lightning.approaches.trained import TrainTask

MODELS, RUNS = "models", ".runs"


def trainings_of(cells: Sequence[Cell], folder: Path) -> dict[str, TrainTask]:
    """Name of a model among all models -> its training, for the models that cells take and nobody gave.

    Args:
        cells: what is to be built.
        folder: the sweep's; ``models/<training>/`` in it gets the model folders.
    """
    found: dict[str, TrainTask] = {}
    for cell in cells:
        training = cell.training
        if training is None or cell.needs.trains:
            continue
        key = training_key(cell.problem, training, cell.seed)
        for model, locales in cell.needs.models.items():
            run = folder / RUNS / f"{key}-{model}"
            task = TrainTask(cell.problem, training, model, locales, cell.seed, run, folder / MODELS / key)
            found.setdefault(cell.models[model], task)
    return found
