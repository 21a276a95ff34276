"""Three ways to train a classifier for each of several locales on the same batches, each in a process of its own.

`ours` is what `fit` does: all members in one loop of Lightning's Trainer, with fit's callbacks; only nothing is
validated and no checkpoint is written, as the others don't either. `Trainer` is transformers' Trainer, a run a locale,
one after another: its own data loader, DataCollatorWithPadding, adamw_torch_fused, linear decay. `Lightning` is a plain
LightningModule a locale, one after another: a DataLoader with the same collator, fused AdamW, linear decay. Model,
head, order of rows, batch, precision, learning rate, weight decay and clipping (1.0) are the same for all.

The clock of a run starts when its first `warm` steps are done and ends with its last step. So nobody's imports,
starting, tokenising, loading of models or first steps count; what lies between steps (data loading, logging, callbacks)
counts for everybody.
"""

import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LEARNING_RATES = {"embedded": 1e-3, "base": 5e-5}
WEIGHT_DECAY = 0.01
CLIP = 1.0


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        base: folder of the encoder.
        locales: a classifier for each.
        batch_size: utterances of a locale in a step.
        epoch_steps: steps of an epoch.
        epochs: how many.
        warm: steps that are not timed.
        learning_rate: at the start; it falls to 0 linearly.
        precision: ``32-true`` or ``bf16-mixed``.
        corpus: name of the corpus.
        data_dir: an unpacked MASSIVE release.
        max_length: tokens after which an utterance is cut.
        length: every utterance has exactly so many tokens, of one row after another; None: as it is.
        flags: further arguments of our `fit`.
    """

    base: str
    locales: tuple[str, ...]
    batch_size: int
    epoch_steps: int
    epochs: int
    warm: int
    learning_rate: float
    precision: str = "32-true"
    corpus: str = "cldr"
    data_dir: str | None = None
    max_length: int = 32
    length: int | None = None
    flags: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of each locale."""
        return self.epochs * self.epoch_steps


@dataclass
class Outcome:
    """What a run gave.

    Attributes:
        seconds: of the timed steps, all locales together.
        losses: locale -> the loss of each of its steps.
        memory: the process' peak resident memory in GiB.
        device_memory: the most that tensors took on the GPU in GiB; 0 without one.
    """

    seconds: float = 0.0
    losses: dict[str, list[float]] = field(default_factory=dict)
    memory: float = 0.0
    device_memory: float = 0.0


class Clock:
    """Seconds between the end of step `warm` and the end of the last step."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.done = 0
        self.marks: list[float] = []

    def step(self) -> None:
        """Called when a step is over."""
        import torch

        self.done += 1
        if self.done in (self.task.warm, self.task.steps):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.marks.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The time between the two marks."""
        start, end = self.marks
        return end - start


def run(way: str, task: Task) -> Outcome:
    """Trains in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_run, way, task).result()


def _run(way: str, task: Task) -> Outcome:
    import logging
    import warnings

    import torch

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    with TemporaryDirectory() as scratch:
        outcome = WAYS[way](task, Path(scratch))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    outcome.memory = int(status["VmHWM"].split()[0]) / 2**20
    if torch.cuda.is_available():
        outcome.device_memory = torch.cuda.max_memory_allocated() / 2**30
    return outcome


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
    import callbacks
    from mu_lightning.verbs.lightning_cli import FitCLI

    class NoCheckpoints(callbacks.RunCheckpoint):  # type: ignore[name-defined, misc]
        def _save(self, trainer: Any, reason: str) -> Path:
            return self.folder

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            pass

    class Fit(FitCLI):
        def fit(self) -> None:
            run = self.run
            assert run is not None
            module = run.plan.joint(list(run.plan.members))
            data = run.plan.data(run.plan.members)
            if started is not None:
                started(module, data)
            self.trainer = run._fit(module, data, "fit", [more])

    hooks = {name: getattr(callbacks, name) for name in callbacks.__all__} | {"RunCheckpoint": NoCheckpoints}
    return Fit(our_arguments(task, folder), hooks).trainer


def _ours(task: Task, folder: Path) -> Outcome:
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


def stretched(rows: list[list[int]], length: int) -> list[list[int]]:
    """Rows of exactly `length` tokens: each goes on with the rows that follow it, and ends as it ended."""
    found = []
    for place, row in enumerate(rows):
        tokens, following = row[:-1], place
        while len(tokens) < length - 1:
            following = (following + 1) % len(rows)
            tokens = tokens + rows[following][1:-1]
        found.append([*tokens[: length - 1], row[-1]])
    return found


def stretched_rows(rows: Any, length: int) -> Any:
    """The same of our encoded rows."""
    from dataclasses import replace

    import numpy as np

    parts = [part.tolist() for part in np.split(rows.tokens, rows.offsets[1:-1])]
    tokens = np.array(stretched(parts, length), dtype=rows.tokens.dtype)
    return replace(rows, tokens=tokens.reshape(-1), offsets=np.arange(len(parts) + 1) * length)


def batches_of(task: Task) -> tuple[Any, Any, dict[str, list[list[dict[str, Any]]]]]:
    """The base, its tokenizer, and locale -> the rows of each batch, tokenised but not padded."""
    from mu_lightning.checkpoints import load_base, load_tokenizer
    from mu_lightning.data.module import IntentDataModule
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.settings import DataSettings

    corpus = open_corpus(task.corpus, None if task.data_dir is None else Path(task.data_dir))
    tokenizer = load_tokenizer(task.base)
    settings = DataSettings(
        corpus=task.corpus,
        batch_size=task.batch_size,
        max_length=task.max_length,
        limit_train=task.batch_size * task.epoch_steps,
    )
    data = IntentDataModule(corpus, tokenizer, settings, {tag: (tag,) for tag in task.locales})
    found = {}
    for tag in task.locales:
        rows = data.rows(tag, "train")
        tokens = tokenizer(list(rows.texts), truncation=True, max_length=task.max_length)["input_ids"]
        if task.length is not None:
            tokens = stretched(tokens, task.length)
        if task.length is not None:
            data._encoded[tag, "train"] = stretched_rows(data.encoded(tag, "train"), task.length)
        sampler: Any = data.member_loader(tag).sampler
        order = []
        for epoch in range(task.epochs):
            sampler.set_epoch(epoch)
            order += [list(share.rows) for share in sampler]
        if any(len(batch) != task.batch_size for batch in order) or len(order) != task.steps:
            raise SystemExit(f"{tag}: batches of {sorted(set(map(len, order)))}, {len(order)} in all")
        items = [
            {
                "input_ids": tokens[row],
                "attention_mask": [1] * len(tokens[row]),
                "labels": rows.labels[row],
            }
            for row in range(len(rows))
        ]
        found[tag] = [[items[row] for row in batch] for batch in order]
    return load_base(task.base, corpus.label_names, 0), tokenizer, found


def _trainer(task: Task, folder: Path) -> Outcome:
    import copy
    import gc

    import torch
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    base, tokenizer, batches = batches_of(task)
    outcome = Outcome()
    for tag, order in batches.items():
        clock, losses = Clock(task), []

        class Watched(Trainer):
            def compute_loss(self, *given: Any, losses: list[Any] = losses, **more: Any) -> Any:
                loss = super().compute_loss(*given, **more)
                losses.append(loss.detach())
                return loss

        class Watch(TrainerCallback):
            def on_step_end(self, *given: Any, clock: Clock = clock, **more: Any) -> None:
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
        rows = Dataset.from_list([row for batch in order for row in batch])
        trainer = Watched(copy.deepcopy(base), settings, DataCollatorWithPadding(tokenizer), rows, callbacks=[Watch()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        outcome.seconds += clock.seconds
        outcome.losses[tag] = torch.stack(losses).tolist()
        del trainer
        gc.collect()  # trainer and model hold each other: the next locale would come on top
    return outcome


def _lightning(task: Task, folder: Path) -> Outcome:
    import copy
    import gc

    import torch
    from lightning.pytorch import Callback, LightningModule
    from lightning.pytorch import Trainer as LightningTrainer
    from torch.optim.lr_scheduler import LambdaLR
    from torch.utils.data import DataLoader
    from transformers import DataCollatorWithPadding

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

    base, tokenizer, batches = batches_of(task)
    collate = DataCollatorWithPadding(tokenizer)
    outcome = Outcome()
    for tag, order in batches.items():
        clock, losses = Clock(task), []

        class Watch(Callback):
            def on_train_batch_end(
                self, trainer: Any, module: Any, outputs: Any, *rest: Any, clock: Clock = clock, losses: Any = losses
            ) -> None:
                losses.append(outputs["loss"].detach())
                clock.step()

        rows = [row for batch in order for row in batch]
        trainer = LightningTrainer(
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
        trainer.fit(Classifier(copy.deepcopy(base)), DataLoader(rows, task.batch_size, collate_fn=collate))
        outcome.seconds += clock.seconds
        outcome.losses[tag] = torch.stack(losses).tolist()
        del trainer
        gc.collect()  # trainer and model hold each other: the next locale would come on top
    return outcome


def _falling(steps: int, step: int) -> float:
    return max(0.0, (steps - step) / steps)


WAYS = {"ours": _ours, "Trainer": _trainer, "Lightning": _lightning}


def random_base(folder: Path, source: Path) -> Path:
    """A folder with an encoder of XLM-R-base's size, drawn at random, without dropout, and `source`'s tokenizer."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    from mu_lightning.checkpoints import load_tokenizer, save_model

    config = XLMRobertaConfig(
        vocab_size=250002,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    save_model(folder, XLMRobertaModel(config, add_pooling_layer=False), load_tokenizer(source), {})
    return folder


if __name__ == "__main__":  # one run by hand: a way, and the task's fields as JSON
    given = json.loads(sys.argv[2])
    given["locales"], given["flags"] = tuple(given["locales"]), tuple(given.get("flags", ()))
    print(run(sys.argv[1], Task(**given)))
