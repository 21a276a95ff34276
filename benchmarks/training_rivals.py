"""Training as transformers' Trainer and a plain LightningModule do it, one locale after another."""

import copy
import gc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from training_batches import batches_of
from training_task import CLIP, WEIGHT_DECAY, Clock, Outcome, Task

# Trains a model on rows, in their order, padded by a collator; tells the clock and the list of each step's loss.
Train = Callable[[Any, list[dict[str, Any]], Any, Clock, list[Any]], None]


def transformers_trainer(task: Task, folder: Path) -> Outcome:
    """A run of transformers' Trainer a locale."""
    from datasets import Dataset
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    def train(model: Any, rows: list[dict[str, Any]], collate: Any, clock: Clock, losses: list[Any]) -> None:
        class Watched(Trainer):
            def compute_loss(self, *given: Any, **more: Any) -> Any:
                loss = super().compute_loss(*given, **more)
                losses.append(loss.detach())
                return loss

        class Watch(TrainerCallback):
            def on_step_end(self, *given: Any, **more: Any) -> None:
                clock.step()

        settings = TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=task.batch_size,
            num_train_epochs=1,
            learning_rate=task.learning_rate,
            weight_decay=WEIGHT_DECAY,
            max_grad_norm=CLIP,
            bf16=task.precision == "bf16-mixed",
            train_sampling_strategy="sequential",  # the rows lie in the order of the batches
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        trainer = Watched(model, settings, collate, Dataset.from_list(rows), callbacks=[Watch()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()

    return _one_after_another(task, train)


def lightning_modules(task: Task, folder: Path) -> Outcome:
    """A plain LightningModule a locale."""
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import DataLoader

    class Classifier(LightningModule):
        def __init__(self, model: Any) -> None:
            super().__init__()
            self.model = model

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.model(**batch).loss
            self.log("train/loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            parts: dict[bool, list[Any]] = {True: [], False: []}
            for parameter in self.model.parameters():
                parts[parameter.ndim > 1].append(parameter)
            groups = [
                {"params": parts[True], "weight_decay": WEIGHT_DECAY},
                {"params": parts[False], "weight_decay": 0.0},
            ]
            optimizer = torch.optim.AdamW(groups, lr=task.learning_rate, fused=True)
            scheduler = LambdaLR(optimizer, partial(_falling, task.steps))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def train(model: Any, rows: list[dict[str, Any]], collate: Any, clock: Clock, losses: list[Any]) -> None:
        class Watch(Callback):
            def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
                losses.append(outputs["loss"].detach())
                clock.step()

        trainer = Trainer(
            max_epochs=1,
            precision=task.precision,  # type: ignore[arg-type]
            gradient_clip_val=CLIP,
            callbacks=[Watch()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(Classifier(model), DataLoader(rows, task.batch_size, collate_fn=collate))

    return _one_after_another(task, train)


def _one_after_another(task: Task, train: Train) -> Outcome:
    import torch
    from transformers import DataCollatorWithPadding

    base, tokenizer, batches = batches_of(task)
    collate = DataCollatorWithPadding(tokenizer)
    outcome = Outcome()
    for tag, order in batches.items():
        clock, losses = Clock(task), list[Any]()
        train(copy.deepcopy(base), [row for batch in order for row in batch], collate, clock, losses)
        outcome.seconds += clock.seconds
        outcome.losses[tag] = torch.stack(losses).tolist()
        gc.collect()  # trainer and model hold each other: the next locale would come on top
    return outcome


def _falling(steps: int, step: int) -> float:
    return max(0.0, (steps - step) / steps)
