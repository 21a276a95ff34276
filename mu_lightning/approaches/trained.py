"""What approaches train, by the same run that `fit` makes: source models, pooled models, merges while training."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mu_lightning.approaches.base import Training
from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.tasks import ONE_THREAD, Resources
from mu_lightning.checkpoints import model_folder_name
from mu_lightning.settings import RunSettings
from mu_lightning.training.checkpointing.resuming import BEGUN
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.training.run_plan import plan_run
from mu_lightning.utilities.console import quiet_lightning


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
        run, trained = train(run_settings(self.problem, self.training, self.seed, self.folder, **more))
        ((member, locales),) = run.plan.members.items()
        run.exports.save(self.place, trained.member(member), locales, trained.trainer)
        shutil.rmtree(self.folder)
        return self.place


def train(settings: RunSettings) -> tuple[TrainingRun, Trained]:
    """Trains, in a worker or in this process: the run, and what came of it."""
    quiet_lightning()  # workers are processes of their own
    with TrainingRun(plan_run(settings), quiet=True) as run:
        return run, run.train()
