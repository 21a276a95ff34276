"""Training as `fit` does it, for `training_ways`."""

from pathlib import Path
from typing import Any, ClassVar

from training_batches import stretched_rows
from training_task import CLIP, WEIGHT_DECAY, Clock, Outcome, Task


def our_arguments(task: Task, folder: Path) -> list[str]:
    """The arguments of `fit` that train the task."""
    data = [] if task.data_dir is None else ["--data.data_dir", task.data_dir]
    return [
        *("fit", "--locales", *task.locales, "--output-dir", str(folder / "run"), "--models-dir", str(folder)),
        *("--data.corpus", task.corpus, *data, "--data.batch_size", str(task.batch_size)),
        *("--data.limit_train", str(task.batch_size * task.epoch_steps), "--data.max_length", str(task.max_length)),
        *("--model.base", task.base, "--model.learning_rate", str(task.learning_rate), "--model.warmup", "0"),
        *("--model.weight_decay", str(WEIGHT_DECAY), "--trainer.gradient_clip_val", str(CLIP)),
        *("--trainer.max_epochs", str(task.epochs), "--trainer.precision", task.precision),
        *("--trainer.limit_val_batches", "0", "--trainer.enable_progress_bar", "false", *task.flags),
    ]


def fitting(task: Task, folder: Path, more: Any, started: Any = None) -> Any:
    """Fits as our verb does, up to the end of training; returns the trainer.

    Args:
        task: what is trained.
        folder: for what the run writes.
        more: a callback.
        started: called with the joint module and the data before training.
    """
    from mu_lightning.callbacks import RunCheckpoint
    from mu_lightning.commands.lightning_cli import FitCLI

    class NoCheckpoints(RunCheckpoint):
        def _save(self, trainer: Any, reason: str) -> Path:
            return self.folder

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            pass

    class Fit(FitCLI):
        callbacks: ClassVar[dict[str, Any]] = {**FitCLI.callbacks, "RunCheckpoint": NoCheckpoints}

        def fit(self) -> None:
            run = self.run
            assert run is not None
            module = run.plan.joint(list(run.plan.members))
            data = run.plan.data(run.plan.members)
            if started is not None:
                started(module, data)
            self.trainer = run._fit(module, data, "fit", [more])

    return Fit(our_arguments(task, folder)).trainer


def ours(task: Task, folder: Path) -> Outcome:
    from lightning.pytorch import Callback

    clock, losses = Clock(task), []

    def started(module: Any, data: Any) -> None:
        if task.length is not None:
            for tag in task.locales:
                data._encoded[tag, "train"] = stretched_rows(data.encoded(tag, "train"), task.length)

    class Watch(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            losses.append(dict(module.losses))
            clock.step()

    fitting(task, folder, Watch(), started)
    return Outcome(clock.seconds, {tag: [float(step[tag]) for step in losses] for tag in task.locales})
