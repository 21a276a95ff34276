"""An intent classifier: a transformers model as a LightningModule that maps a batch to logits."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from transformers import PreTrainedModel

from mu_lightning.checkpoints import label_names, load_classifier
from mu_lightning.data.encoding import Batch
from mu_lightning.evaluation.calibration import stored_temperature
from mu_lightning.evaluation.loop import Collector, check_finite_logits, confidences_of, packed
from mu_lightning.evaluation.metrics import Scores
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.models.cpu import PlainClassifier, ScoringPass, scoring_pass
from mu_lightning.models.vocabulary_subset import VocabularySubset
from mu_lightning.utilities.resources import resource


class EvaluationModule(LightningModule):
    """Base class for evaluation: validation and test steps collect scores, predict steps return label indices."""

    scores: dict[str, Scores]
    temperature: float = 1.0  # logits are divided by it before they become probabilities
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
        """Returns row indices, predicted label indices and their probabilities, each of shape (B,)."""
        logits = self(batch)
        check_finite_logits(logits, "the model")
        confidence, prediction = torch.softmax(logits / self.temperature, dim=-1).max(dim=-1)
        return {"index": batch["index"], "prediction": prediction, "confidence": confidence}

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def eval_logits(self, batch: Batch, locale: str) -> Tensor:
        """Returns the logits to score for a batch of a locale."""
        return self(batch)

    def _start(self) -> None:
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        split = "test" if self.trainer.testing else "dev"
        self._locales = data.eval_locales
        limit: int | float = self.trainer.limit_test_batches if self.trainer.testing else self.trainer.limit_val_batches
        partial = isinstance(limit, int) or limit < 1
        self._collector = Collector({locale: data.encoded(locale, split).ids for locale in self._locales}, partial)
        self._pack()

    def _pack(self) -> None:
        self._packing = ExitStack()
        self._packing.enter_context(packed(self))

    def _collect(self, batch: Batch, dataloader_idx: int) -> None:
        locale = self._locales[dataloader_idx]
        logits = self.eval_logits(batch, locale)
        self._collector.add(locale, batch, logits, confidences_of(self, logits) if self.trainer.testing else None)

    def _finish(self, prefix: str) -> None:
        self._packing.close()
        if self.trainer.sanity_checking:  # the sanity check covers part of the split only
            return
        self.scores = self._collector.scores()[""]
        for locale, scores in self.scores.items():
            values = {f"{prefix}/accuracy/{locale}": scores.accuracy, f"{prefix}/macro_f1/{locale}": scores.macro_f1}
            self.log_dict(values, rank_zero_only=True, sync_dist=True)  # equal in all processes: nothing is sent


class IntentClassifier(EvaluationModule):
    """A sequence classifier of transformers that takes a batch.

    Args:
        model: any ``AutoModelForSequenceClassification``.
        subset: vocabulary subset that is trained and merged; None for the full vocabulary.
    """

    device_marker: Tensor  # empty; marks the device of the computation

    def __init__(self, model: PreTrainedModel, subset: VocabularySubset | None = None) -> None:
        super().__init__()
        self.model = model
        self.subset = subset
        self.register_buffer("device_marker", torch.empty(0), persistent=False)
        self._packed: ScoringPass | None = None

    @classmethod
    def from_folder(cls, source: str | Path, labels: Sequence[str] | None = None) -> Self:
        """Loads a classifier and its temperature from a model folder or hub id; raises UserError on failure.

        Args:
            source: model folder or hub id.
            labels: order of the classes, such as a corpus'.
        """
        classifier = cls(load_classifier(source, labels))
        classifier.temperature = stored_temperature(resource(source))
        return classifier

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""
        return label_names(self.model)

    def merge_state(self) -> dict[str, Tensor]:
        """Returns the tensors to merge, as references. For a model without adapters these are all tensors."""
        return self._used(self.model.state_dict())

    @torch.no_grad()
    def take(self, state: Mapping[str, Tensor]) -> None:
        """Copies the values of a merge state into the model, in place: the optimizer references the tensors."""
        self._put(state, self.model.state_dict())

    def frozen_rows(self) -> dict[str, FrozenRows]:
        """Returns the frozen rows that `merge_state` omits, by tensor name."""
        return {} if self.subset is None else {self.subset.name: self.subset.frozen_rows}

    @property
    def full_word_embeddings(self) -> nn.Parameter | None:
        """The word embeddings, if they are full and trained but have frozen rows; else None."""
        if self.subset is None or self.subset.trimmed:
            return None
        embedding: Any = self.model.get_input_embeddings()
        table: nn.Parameter = embedding.weight
        return table if table.requires_grad else None

    @torch.no_grad()
    def decay_word_embeddings(self, factor: float) -> None:
        """Applies weight decay to the subset's rows of full word embeddings, before a step."""
        table = self.full_word_embeddings
        if self.subset is not None and table is not None and table.grad is not None:
            self.subset.decay(table, factor)

    def with_merged(self, state: Mapping[str, Tensor]) -> "IntentClassifier":
        """Returns a copy of this classifier with a merged state."""
        merged = copy.deepcopy(self)
        merged.take(state)
        return merged

    def as_merged(self, state: Mapping[str, Tensor]) -> "IntentClassifier":
        """Loads a merged state into this classifier and returns it."""
        self.take(state)
        return self

    def plain(self) -> "IntentClassifier":
        """Returns the classifier for export, with the full vocabulary; unchanged tensors are shared."""
        if self.subset is None or not self.subset.trimmed:
            return self
        whole = copy.deepcopy(self, {id(tensor): tensor for tensor in self.model.parameters()})
        whole.subset = None
        self.subset.restore(whole.model)
        return whole

    def _used(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return state if self.subset is None else self.subset.used(state)

    def _put(self, state: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
        for name, tensor in into.items():
            if self.subset is not None and name == self.subset.name:
                self.subset.take(tensor, state[name])
            else:
                tensor.copy_(state[name])

    def forward(self, batch: Batch) -> Tensor:
        """Computes logits of shape (B, classes), in float32.

        Offloaded weights are copied to the device for this call.
        """
        if self._packed is not None and not self.training and not torch.is_autocast_enabled("cpu"):
            return self._packed(batch)
        return PlainClassifier(self.model, self.device_marker.device)(batch)

    @contextmanager
    def packed(self) -> Iterator[None]:
        """Computes logits on the fast path, where it is supported. Weights must not change inside the block.

        Nested blocks have no effect.
        """
        if self._packed is not None:
            yield
            return
        self._packed = scoring_pass(self.model, self.device_marker.device)
        try:
            yield
        finally:
            self._packed = None
