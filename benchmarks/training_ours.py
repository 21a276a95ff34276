"""Training as `fit` does it, for `training_ways`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

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


def fitting(task: Task, folder: Path, more: Any) -> None:
    """Fits as our command does, up to the end of training.

    Args:
        task: what is trained.
        folder: for what the run writes.
        more: a callback.
    """
    from mu_lightning.commands.lightning_cli import FitCLI
    from mu_lightning.settings import RunSettings

    class Fit(FitCLI):
        def settings(self) -> RunSettings:
            asked = super().settings()
            callbacks = {"checkpoint": "no_checkpoints.NoCheckpoints"}
            return replace(asked, callbacks=callbacks, trainer={**asked.trainer, "callbacks": [more]})

        def fit(self) -> None:
            assert self.run is not None
            with self.run as run:
                run.train()

    Fit(our_arguments(task, folder))


def ours(task: Task, folder: Path) -> Outcome:
    from lightning.pytorch import Callback

    clock, losses = Clock(task), []

    class Watch(Callback):
        def setup(self, trainer: Any, module: Any, stage: str) -> None:
            data = trainer.datamodule
            if task.length is not None:
                for tag in task.locales:
                    data._encoded[tag, "train"] = stretched_rows(data.encoded(tag, "train"), task.length)

        def on_train_batch_end(self, trainer: Any, module: Any, *rest: Any) -> None:
            losses.append(dict(module.losses))
            clock.step()

    fitting(task, folder, Watch())
    return Outcome(clock.seconds, {tag: [float(step[tag]) for step in losses] for tag in task.locales})
