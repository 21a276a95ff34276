"""A classifier's word table of which a run uses some rows: held alone while it trains, back in the table on export."""

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

SAVED = "vocabulary"  # key of what we add to Lightning's checkpoint


@dataclass(frozen=True, eq=False)
class Words:
    """The rows of a word table that a run uses. Merges act on these alone; the others stay the base's.

    Attributes:
        vocabulary: which rows.
        name: the table's, among the model's tensors.
        table: the base's whole table, [token ids, width]; never changed.
        trimmed: whether models hold the used rows only.
        file: where the table lies in a file as it is, if it does.
    """

    vocabulary: Vocabulary
    name: str
    table: Tensor
    trimmed: bool
    file: Entry | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "Words":
        return self  # all copies of a model share it

    @cached_property
    def kept(self) -> Tensor:
        """The used rows' numbers, int64 of shape (used rows,)."""
        return torch.from_numpy(self.vocabulary.kept.astype(np.int64))

    @cached_property
    def frozen_rows(self) -> FrozenRows:
        """What a merge must know of the other rows."""
        return FrozenRows(self.kept, self.table)

    def used(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A model's state dict with the used rows alone."""
        if self.trimmed or self.name not in state:
            return dict(state)
        table = state[self.name]
        return {**state, self.name: table[self.kept.to(table.device)]}

    def take(self, table: Tensor, rows: Tensor) -> None:
        """Puts the used rows into a model's table, in place."""
        if self.trimmed:
            table.copy_(rows)
        else:
            table[self.kept.to(table.device)] = rows.to(table)

    def decay(self, table: Tensor, factor: float) -> None:
        """Multiplies the used rows of a model's whole table, in place."""
        kept = self.kept.to(table.device)
        table[kept] = table[kept].mul_(factor)

    def put_back(self, model: "PreTrainedModel") -> None:
        """Gives a model that holds the used rows the whole table, the base's in the others."""
        used = _plain_table(model)
        table = self._copy().to(used)
        table[self.kept.to(table.device)] = used
        _set_table(model, table)

    def _copy(self) -> Tensor:
        """A copy of the base's table; of one in a file only the pages that are written take memory."""
        if self.file is not None and self.file.path.is_file():
            mapped = MappedFiles().tensor(self.file)
            if torch.equal(mapped, self.table):
                return mapped
        return self.table.clone()

    def trim(self, model: "PreTrainedModel") -> None:
        """Leaves a model with the whole table the used rows only."""
        table = _plain_table(model)
        _set_table(model, table[self.kept.to(table.device)])

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Notes in a checkpoint which rows it holds."""
        checkpoint[SAVED] = torch.from_numpy(self.vocabulary.kept)

    def check(self, checkpoint: Mapping[str, Any]) -> None:
        """Raises UserError for a checkpoint of other rows: their places would not be the same."""
        saved = checkpoint.get(SAVED)
        if saved is None or not np.array_equal(saved.numpy(), self.vocabulary.kept):
            there = "none" if saved is None else f"{len(saved)} pieces"
            raise UserError(
                f"the checkpoint is of a run on other texts: of the vocabulary it holds {there}, and the texts here "
                f"are made of {len(self.vocabulary)}; go on with the very corpus that it was begun with"
            )


def words_of(model: "PreTrainedModel", vocabulary: Vocabulary, trimmed: bool, weights: Path | None = None) -> Words:
    """A base's words; of a base that is to be trimmed the table is taken out.

    Args:
        model: the base, with its whole table.
        vocabulary: the rows that are used.
        trimmed: whether to leave the model the used rows alone.
        weights: the safetensors file that the base was loaded from, if it is one file.

    Raises:
        UserError: the model has no plain word table.
    """
    table = _plain_table(model)
    name = next(name for name, tensor in model.named_parameters() if tensor.data_ptr() == table.data_ptr())
    stored = {} if weights is None else read_header(weights)
    inner = name.removeprefix(f"{model.base_model_prefix}.")  # an encoder's file knows no head, and no such prefix
    file = stored.get(name, stored.get(inner))
    if file is not None and (file.dtype, file.shape) != (str(table.dtype).removeprefix("torch."), tuple(table.shape)):
        file = None
    words = Words(vocabulary, name, table, trimmed, file)
    if trimmed:
        words.trim(model)
    return words


def word_table(model: "PreTrainedModel") -> Tensor | None:
    """A model's word table, [token ids, width]; not a copy, and without a gradient. None where a model has none.

    Raises:
        UserError: it has one that is not a plain one.
    """
    try:
        embedding = model.get_input_embeddings()
    except NotImplementedError:  # transformers' word for a model that has none
        return None
    weight = getattr(embedding, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    if type(embedding) is not nn.Embedding:
        raise UserError(
            f"a {model.config.model_type} model has a {type(embedding).__name__} of which rows cannot be told apart; "
            "choose --model.vocabulary full with --model.decay_unused true"
        )
    return weight.detach()


def _plain_table(model: "PreTrainedModel") -> Tensor:
    table = word_table(model)
    if table is None:
        raise UserError(
            f"a {model.config.model_type} model has no word table of which rows could be told apart; choose "
            "--model.vocabulary full with --model.decay_unused true"
        )
    return table


def _set_table(model: "PreTrainedModel", table: Tensor) -> None:
    old: Any = model.get_input_embeddings()
    new = nn.Embedding.from_pretrained(table, not old.weight.requires_grad, old.padding_idx)
    model.set_input_embeddings(new.train(old.training))
