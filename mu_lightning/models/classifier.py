"""One intent classifier: a transformers model as a module from a batch to logits, and its Lightning side."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from mu_lightning.checkpoints import label_names, load_classifier
from mu_lightning.data.encoding import Batch
from mu_lightning.evaluation.loop import Collector, packed
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.models.cpu.packed import PackedClassifier, can_pack
from mu_lightning.models.vocabulary_subset import Words


class Evaluated(LightningModule):
    """What every module here shares: validating and testing feed the one collector; predicting gives label indices."""

    scores: dict[str, Scores]
    _packing: ExitStack

    def on_validation_epoch_start(self) -> None:
        self._start()

    def on_test_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._collect(batch, dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._collect(batch, dataloader_idx)

    def on_predict_epoch_start(self) -> None:
        self._pack()

    def on_predict_epoch_end(self) -> None:
        self._packing.close()

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Tensor]:
        """The rows' places, predicted label indices and the probability of each, shapes (B,)."""
        confidence, prediction = torch.softmax(self(batch), dim=-1).max(dim=-1)
        return {"index": batch["index"], "prediction": prediction, "confidence": confidence}

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def eval_logits(self, batch: Batch, locale: str) -> Tensor:
        """The logits that are scored for a batch of `locale`."""
        return self(batch)

    def _start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        split = "test" if self.trainer.testing else "dev"
        self._locales = data.eval_locales
        self._collector = Collector({locale: data.encoded(locale, split).ids for locale in self._locales})
        self._pack()

    def _pack(self) -> None:
        self._packing = ExitStack()
        self._packing.enter_context(packed(self))

    def _collect(self, batch: Batch, dataloader_idx: int) -> None:
        locale = self._locales[dataloader_idx]
        self._collector.add(locale, batch, self.eval_logits(batch, locale))

    def _finish(self, prefix: str) -> None:
        self._packing.close()
        if self.trainer.sanity_checking:  # the sanity check sees part of the split, which no score may be made of
            return
        self.scores = self._collector.scores()[""]
        for locale, scores in self.scores.items():
            values = {f"{prefix}/accuracy/{locale}": scores.accuracy, f"{prefix}/macro_f1/{locale}": scores.macro_f1}
            self.log_dict(values, rank_zero_only=True)


class IntentClassifier(Evaluated):
    """A sequence classifier of transformers, called with a batch.

    Args:
        model: any ``AutoModelForSequenceClassification``.
        words: which rows of the word table merges act on, and whether the model holds those alone; None: all.
    """

    home: Tensor  # empty: its device is the one that this classifier computes on

    def __init__(self, model: PreTrainedModel, words: Words | None = None) -> None:
        super().__init__()
        self.model = model
        self.words = words
        self.register_buffer("home", torch.empty(0), persistent=False)
        self._packed: PackedClassifier | None = None

    @classmethod
    def from_folder(cls, source: str | Path) -> Self:
        """Loads a trained classifier from a model folder or hub id; raises UserError where it cannot be loaded."""
        return cls(load_classifier(source))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""
        return label_names(self.model)

    def merge_state(self) -> dict[str, Tensor]:
        """The tensors that merges act on; of a plain model all of them. They are the model's own, not copies."""
        return self._used(self.model.state_dict())

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Takes over the values of such a state, in place: the optimizer holds these very tensors."""
        self._put(state, self.model.state_dict())

    def frozen_rows(self) -> dict[str, FrozenRows]:
        """Tensor name -> the rows of it that `merge_state` leaves out, as they are the base's."""
        return {} if self.words is None else {self.words.name: self.words.frozen_rows}

    @property
    def whole_table(self) -> nn.Parameter | None:
        """The word table, where it is whole, is trained, and some of its rows must stay the base's."""
        if self.words is None or self.words.trimmed:
            return None
        embedding: Any = self.model.get_input_embeddings()
        table: nn.Parameter = embedding.weight
        return table if table.requires_grad else None

    @torch.no_grad()
    def decay_words(self, factor: float) -> None:
        """Multiplies the used rows of a whole word table that has a gradient: weight decay, before a step."""
        table = self.whole_table
        if self.words is not None and table is not None and table.grad is not None:
            self.words.decay(table, factor)

    def with_merged(self, state: Mapping[str, Tensor]) -> "IntentClassifier":
        """A new classifier of a merged state; this one is left as it is."""
        merged = copy.deepcopy(self)
        merged.take(state)
        return merged

    def as_merged(self, state: Mapping[str, Tensor]) -> "IntentClassifier":
        """The same of a classifier that is not needed any more."""
        self.take(state)
        return self

    def plain(self) -> "IntentClassifier":
        """This classifier as an ordinary model, as it is exported; they share what is the same."""
        if self.words is None or not self.words.trimmed:
            return self
        whole = copy.deepcopy(self, {id(tensor): tensor for tensor in self.model.parameters()})
        whole.words = None
        self.words.put_back(whole.model)
        return whole

    def _used(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state if self.words is None else self.words.used(state)

    def _put(self, state: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
        for name, tensor in into.items():
            if self.words is not None and name == self.words.name:
                self.words.take(tensor, state[name])
            else:
                tensor.copy_(state[name])

    def forward(self, batch: Batch) -> Tensor:
        """Logits, shape (B, classes), in float32.

        Where weights rest in ordinary memory while the classifier belongs to a device, they are there for this call.
        """
        if self._packed is not None and not self.training and not torch.is_autocast_enabled("cpu"):
            return self._packed(batch)
        inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
        away = {name: tensor for name, tensor in self.model.named_parameters() if tensor.device != self.home.device}
        there = {name: tensor.to(self.home.device) for name, tensor in away.items()}
        output: Any = functional_call(self.model, there, kwargs=inputs) if there else self.model(**inputs)
        return output.logits.float()

    @contextmanager
    def packed(self) -> Iterator[None]:
        """While it lasts, and the weights do not change, logits come from `PackedClassifier` where it can give them.

        Inside such a block a further one changes nothing.
        """
        if self._packed is not None:
            yield
            return
        here = self.home.device.type == "cpu"
        self._packed = PackedClassifier(self.model) if here and can_pack(self.model) else None
        try:
            yield
        finally:
            self._packed = None
