"""What approaches train, by the same run that `fit` makes: source models, pooled models, merges while training."""

import shutil
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
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.training.run_plan import plan_run
from mu_lightning.utilities.console import quiet_lightning
from mu_lightning.utilities.errors import UserError


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
    """A model that several approaches take, trained once.

    It is trained by itself: which rows of the word embeddings decay depends on all texts of a run, and a model must not
    depend on what else a sweep needs.

    Attributes:
        problem: gives data and base, and the target of a pooled model.
        training: how.
        model: the model's name.
        locales: those that it is trained on.
        seed: the run's.
        folder: of the run.
        models_dir: of the model folder.
        resources: what it takes while it runs.
    """

    problem: Problem
    training: Training
    model: str
    locales: tuple[str, ...]
    seed: int
    folder: Path
    models_dir: Path
    resources: Resources = ONE_THREAD

    @property
    def name(self) -> str:
        """What is shown while it runs."""
        return f"training {self.model} with seed {self.seed}"

    @property
    def place(self) -> Path:
        """The model's folder."""
        return self.models_dir / model_folder_name(self.problem.base, self.problem.data.corpus, self.model)

    def run(self, context: EvaluationContext) -> Path:
        """Trains the model, unless it is there; returns its folder."""
        if self.place.is_dir():
            return self.place
        more: dict[str, Any] = {"locales": self.locales, "models_dir": self.models_dir}
        if len(self.locales) > 1:
            target = None if self.problem.target in self.locales else self.problem.target
            more |= {"multilingual": True, "target_lang": target}
        run, trained = _run(run_settings(self.problem, self.training, self.seed, self.folder, **more))
        ((member, locales),) = run.plan.members.items()
        run.exports.save(self.place, trained.member(member), locales, trained.trainer)
        shutil.rmtree(self.folder)
        return self.place


def _run(settings: RunSettings) -> tuple[TrainingRun, Trained]:
    quiet_lightning()  # workers are processes of their own
    with TrainingRun(plan_run(settings), quiet=True) as run:
        return run, run.train()


def _trained(settings: RunSettings) -> Trained:
    return _run(settings)[1]
