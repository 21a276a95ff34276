"""What approaches train, by the same run that `fit` makes: source models, pooled models, merges while training."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mu_lightning.approaches.base import Built, Cell, Problem, Training
from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.iterative import Iterative
from mu_lightning.approaches.tasks import ONE_THREAD, Resources
from mu_lightning.checkpoints import model_folder_name
from mu_lightning.settings import RunSettings
from mu_lightning.training.checkpointing.resuming import BEGUN
from mu_lightning.training.members import POOLED
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.training.run_plan import plan_run
from mu_lightning.utilities.console import quiet_lightning
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object


def run_settings(problem: Problem, training: Training, seed: int, folder: Path, **more: Any) -> RunSettings:
    """The run that trains so, in `folder`: it goes on with what an earlier attempt left there.

    Args:
        problem: gives data and base.
        training: how.
        seed: the run's.
        folder: the run's folder.
        more: other fields of `RunSettings`, such as ``locales`` or ``target_lang``.
    """
    return RunSettings(
        seed=seed,
        data=problem.data,
        model=replace(training.model, base=problem.base),
        trainer=dict(training.trainer),  # type: ignore[arg-type]
        guard=training.guard,
        output_dir=folder,
        resume=(folder / BEGUN).is_file(),
        **more,
    )


def merging_settings(approach: Iterative, cell: Cell, folder: Path) -> RunSettings:
    """The run of an iterative approach for a cell."""
    return run_settings(
        cell.problem,
        approach.training,
        cell.seed,
        folder,
        target_lang=cell.target,
        target_languages=approach.others,
        # Of several targets each chooses its own sources.
        locales=() if approach.others else cell.sources,
        num_languages=len(cell.sources),
        preweight=approach.preweight,
        weights=approach.weights,
        typology=approach.typology,
        merge=approach.merge,
        callbacks={"kept_merges": None},  # the cell keeps its result, and no model of each merge
    )


def train_merging(approach: Iterative, cell: Cell, folder: Path) -> Built:
    """Trains and merges in `folder`.

    Raises:
        UserError: nothing was merged, or every merge was rolled back: there is no merged model then.
    """
    trained = _trained(merging_settings(approach, cell, folder))
    if cell.target not in trained.merged:
        why = "every merge was rolled back" if trained.history else "nothing was merged"
        raise UserError(f"{why}: the run has no merged model")
    details = {"weights": trained.weights(cell.target), "merges": len(trained.history)}
    return Built(trained.classifier(cell.target).plain(), trained.supervision(cell.target), details)


@dataclass(frozen=True)
class TrainTask:
    """Models that several approaches take, trained side by side, each once.

    Attributes:
        problem: gives data and base; its target plays no part.
        training: how.
        models: name -> the locales that the model is trained on: several models of one locale, or one of several.
        seed: the run's.
        folder: of the run.
        models_dir: of the model folders.
        resources: what it takes while it runs.
    """

    problem: Problem
    training: Training
    models: Mapping[str, tuple[str, ...]]
    seed: int
    folder: Path
    models_dir: Path
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """What is shown while it runs."""
        return f"training {', '.join(self.models)} with seed {self.seed}"

    @property
    def pooled(self) -> str | None:
        """The name of a model of several locales, which is trained by itself; None for models of one locale."""
        return next((name for name, locales in self.models.items() if len(locales) > 1), None)

    def places(self) -> dict[str, Path]:
        """Name -> the model's folder."""
        base, corpus, pooled = self.problem.base, self.problem.data.corpus, self.pooled
        if pooled is not None:
            return {pooled: self.models_dir / pooled / model_folder_name(base, corpus, POOLED)}
        return {name: self.models_dir / model_folder_name(base, corpus, name) for name in self.models}

    def run(self, context: EvaluationContext) -> dict[str, Path]:
        """Trains the models that are not there; returns the folders of all."""
        places = self.places()
        missing = tuple(name for name, place in places.items() if not place.is_dir())
        if not missing:
            return places
        pooled, begun = self.pooled, self.folder / BEGUN
        if pooled is not None:
            more = {"locales": self.models[pooled], "multilingual": True, "models_dir": self.models_dir / pooled}
        else:
            # A run that was interrupted goes on with the models that it began with.
            wanted = read_json_object(begun)["config"]["locales"] if begun.is_file() else missing
            more = {"locales": tuple(wanted), "models_dir": self.models_dir}
        run, trained = _run(run_settings(self.problem, self.training, self.seed, self.folder, **more))
        for member, locales in run.plan.members.items():
            run.exports.save(run.plan.exports[member], trained.member(member), locales, trained.trainer)
        shutil.rmtree(self.folder)
        return places


def _run(settings: RunSettings) -> tuple[TrainingRun, Trained]:
    quiet_lightning()  # workers are processes of their own
    with TrainingRun(plan_run(settings), quiet=True) as run:
        return run, run.train()


def _trained(settings: RunSettings) -> Trained:
    return _run(settings)[1]
