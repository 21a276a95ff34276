"""Vocabulary subsets: training uses the embedding rows of the tokens in its data; exported models have all rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mu_lightning.data.vocabulary import Vocabulary
from mu_lightning.merging.engine.frozen_rows import FrozenRows
from mu_lightning.merging.folders.mapped_files import MappedFiles
from mu_lightning.merging.folders.safetensor_files import Entry, read_header
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAVED = "vocabulary"  # key in Lightning checkpoints


@dataclass(frozen=True, eq=False)
class VocabularySubset:
    """The rows of the word embeddings that a run trains and merges; the other rows equal those of the base.

    Attributes:
        vocabulary: tokens in the subset.
        name: tensor name of the word embeddings.
        table: word embeddings of the base, [token ids, width]; not modified.
        trimmed: whether models have the rows of the subset only.
        file: location of the embeddings in a safetensors file, if any.
    """

    vocabulary: Vocabulary
    name: str
    table: Tensor
    trimmed: bool
    file: Entry | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "VocabularySubset":
        return self  # shared by all copies of a model

    @cached_property
    def kept(self) -> Tensor:
        """Token ids in the subset, int64 of shape (subset,)."""
        return torch.from_numpy(self.vocabulary.kept.astype(np.int64))

    @cached_property
    def frozen_rows(self) -> FrozenRows:
        """Frozen base rows, for the merge engine."""
        return FrozenRows(self.kept, self.table)

    def used(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Restricts a state dict to the rows of the subset."""
        if self.trimmed or self.name not in state:
            return dict(state)
        table = state[self.name]
        return {**state, self.name: table[self.kept.to(table.device)]}

    def take(self, table: Tensor, rows: Tensor) -> None:
        """Copies rows of the subset into the word embeddings of a model, in place."""
        if self.trimmed:
            table.copy_(rows)
        else:
            table[self.kept.to(table.device)] = rows.to(table)

    def decay(self, table: Tensor, factor: float) -> None:
        """Multiplies the rows of the subset in full word embeddings, in place."""
        kept = self.kept.to(table.device)
        table[kept] = table[kept].mul_(factor)

    def restore(self, model: "PreTrainedModel") -> None:
        """Restores the full word embeddings of a trimmed model, with the base's other rows."""
        used = _required_word_embeddings(model)
        table = self._copy().to(used)
        table[self.kept.to(table.device)] = used
        _set_table(model, table)

    def _copy(self) -> Tensor:
        """Copies the base's word embeddings; memory-mapped copies use memory for modified pages only."""
        if self.file is not None and self.file.path.is_file():
            mapped = MappedFiles().tensor(self.file)
            if torch.equal(mapped, self.table):
                return mapped
        return self.table.clone()

    def trim(self, model: "PreTrainedModel") -> None:
        """Removes all rows outside the subset from the word embeddings of a model."""
        table = _required_word_embeddings(model)
        _set_table(model, table[self.kept.to(table.device)])

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Stores the token ids of the subset in a checkpoint."""
        checkpoint[SAVED] = torch.from_numpy(self.vocabulary.kept)

    def check(self, checkpoint: Mapping[str, Any]) -> None:
        """Raises UserError if a checkpoint has a different subset."""
        saved = checkpoint.get(SAVED)
        if saved is None or not np.array_equal(saved.numpy(), self.vocabulary.kept):
            there = "the full vocabulary" if saved is None else f"{len(saved)} tokens"
            raise UserError(
                f"the checkpoint was trained on other texts: it has {there}, and these texts have "
                f"{len(self.vocabulary)} tokens; resume with the same corpus"
            )


def select_vocabulary(
    model: "PreTrainedModel", vocabulary: Vocabulary, trimmed: bool, weights: Path | None = None
) -> VocabularySubset:
    """Creates the vocabulary subset of a base model.

    Args:
        model: the base with full word embeddings.
        vocabulary: tokens in the subset.
        trimmed: whether to remove the other rows from the model.
        weights: safetensors file of the base, if it is a single file.

    Raises:
        UserError: the model has no word embeddings of type ``nn.Embedding``.
    """
    table = _required_word_embeddings(model)
    name = next(name for name, tensor in model.named_parameters() if tensor.data_ptr() == table.data_ptr())
    stored = {} if weights is None else read_header(weights)
    inner = name.removeprefix(f"{model.base_model_prefix}.")  # the file of a bare encoder has no prefix
    file = stored.get(name, stored.get(inner))
    if file is not None and (file.dtype, file.shape) != (str(table.dtype).removeprefix("torch."), tuple(table.shape)):
        file = None
    subset = VocabularySubset(vocabulary, name, table, trimmed, file)
    if trimmed:
        subset.trim(model)
    return subset


def word_embeddings_of(model: "PreTrainedModel") -> Tensor | None:
    """Returns the word embeddings of a model, [token ids, width], detached and not copied; None without any.

    Raises:
        UserError: the word embeddings are not of type ``nn.Embedding``.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:  # raised for models without input embeddings
        return None
    weight = getattr(embedding, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    if type(embedding) is not nn.Embedding:
        raise UserError(
            f"a {model.config.model_type} model has word embeddings of type {type(embedding).__name__}; "
            "use --model.vocabulary full with --model.decay_unused true"
        )
    return weight.detach()


def _required_word_embeddings(model: "PreTrainedModel") -> Tensor:
    table = word_embeddings_of(model)
    if table is None:
        raise UserError(
            f"a {model.config.model_type} model has no word embeddings; use "
            "--model.vocabulary full with --model.decay_unused true"
        )
    return table


def _set_table(model: "PreTrainedModel", table: Tensor) -> None:
    old: Any = model.get_input_embeddings()
    new = nn.Embedding.from_pretrained(table, not old.weight.requires_grad, old.padding_idx)
    model.set_input_embeddings(new.train(old.training))
