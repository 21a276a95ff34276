"""What the ways of `training_ways` train, on which base, and what a run gives."""

import time
from dataclasses import dataclass, field
from pathlib import Path

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
