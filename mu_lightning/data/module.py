"""The data module: train batches of all members, and evaluation batches of any locale."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from mu_lightning.data.batching import BatchSize, eval_loader, seed_of, train_loader
from mu_lightning.data.corpus import NO_ROWS, Corpus, Rows, Split
from mu_lightning.data.encoding import Batch, EncodedRows, concatenate, encode
from mu_lightning.data.turns import JointLoader, Turns
from mu_lightning.data.vocabulary import Vocabulary
from mu_lightning.settings import DataSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Loaders = dict[str, "DataLoader[Batch]"]


class IntentDataModule(LightningDataModule):
    """Reads and tokenizes locales of a corpus on demand.

    Args:
        corpus: the corpus.
        tokenizer: tokenizer of the base.
        settings: data settings.
        members: train locales of each member.
        eval_locales: locales for validation, test and prediction; default: the train locales.
        seed: random seed for the order of batches.
        vocabulary: vocabulary subset of the models; None for the full vocabulary.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: "PreTrainedTokenizerBase",
        settings: DataSettings,
        members: Mapping[str, Sequence[str]] | None = None,
        eval_locales: Sequence[str] | None = None,
        seed: int = 0,
        vocabulary: Vocabulary | None = None,
        fixed_order: bool = False,
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.settings = settings
        self.members = {name: tuple(locales) for name, locales in (members or {}).items()}
        learned = dict.fromkeys(locale for locales in self.members.values() for locale in locales)
        self.eval_locales = tuple(eval_locales or learned)
        self.seed = seed
        self.vocabulary = vocabulary
        self.fixed_order = fixed_order
        self._turns: Turns | None = None
        self._rows: dict[tuple[str, Split], Rows] = {}
        self._encoded: dict[tuple[str, Split], EncodedRows] = {}

    def rows(self, locale: str, split: Split) -> Rows:
        """Returns the rows of a split; with ``limit_train`` a subset of ids that all locales share.

        A locale that is not in the corpus has no rows: a target need not have data.
        """
        key = (locale, split)
        if key not in self._rows:
            rows = self.corpus.rows(locale, split) if locale in self.corpus.locales else NO_ROWS
            limit = self.settings.limit_train
            if split == "train" and limit is not None and limit < len(rows):
                kept = sorted(sorted(range(len(rows)), key=lambda row: seed_of("limit", rows.ids[row]))[:limit])
                rows = rows.select(kept)
            self._rows[key] = rows
        return self._rows[key]

    def encoded(self, locale: str, split: Split) -> EncodedRows:
        """Returns the tokens of a split; raises UserError for tokens outside the vocabulary subset."""
        key = (locale, split)
        if key not in self._encoded:
            rows = encode(self.rows(locale, split), self.tokenizer, self.settings.max_length)
            if self.vocabulary is not None:
                self.vocabulary.check(rows.tokens, f"{locale} {split} of {self.corpus.name}")
                rows = replace(rows, vocabulary=self.vocabulary)
            self._encoded[key] = rows
        return self._encoded[key]

    def prepare_data(self) -> None:
        """Fills the token cache in one process."""
        for locale in {locale for locales in self.members.values() for locale in locales}:
            self.encoded(locale, "train")

    def setup(self, stage: str) -> None:
        """Interprets the trainer's ``max_steps`` as steps of the longest member, for members that train in turns."""
        if stage != "fit":
            return
        trainer = self.trainer
        assert trainer is not None
        limit = self._train_limit()
        if limit is not None:  # the loader has no more batches than that: Lightning would take its share of these
            trainer.limit_train_batches = limit
        at_once = getattr(trainer.lightning_module, "at_once", 0)
        self._turns = Turns(
            self.member_batches(),
            at_once,
            trainer.accumulate_grad_batches,
            limit=limit,
            max_steps=trainer.max_steps if trainer.max_steps > 0 else None,
        )
        if at_once and self._turns.run_steps is not None:
            trainer.fit_loop.epoch_loop.max_steps = self._turns.run_steps

    @property
    def batch_size(self) -> BatchSize:
        """Size of global train batches."""
        return BatchSize(self.settings.batch_size, self.settings.batch_tokens)

    @property
    def turns(self) -> Turns:
        """Order of the members' batches; after `setup` with the limits of the trainer."""
        return self._turns or Turns(self.member_batches())

    def train_dataloader(self) -> JointLoader:
        """Creates the loader of ``{member: batch}``; a member is inactive after its last batch of the epoch.

        Each member sees its rows once per epoch, exactly as if it were trained alone.
        """
        return JointLoader({name: self.member_loader(name) for name in self.members}, self.turns, self.fixed_order)

    def member_loader(self, name: str) -> "DataLoader[Batch]":
        """Creates the train loader of a member, for this device."""
        rows = concatenate({locale: self.encoded(locale, "train") for locale in self.members[name]})
        return train_loader(rows, self.batch_size, self.seed, name, *self._place())

    def member_batches(self) -> dict[str, int]:
        """Number of batches per epoch of each member."""
        lengths = {
            name: np.sort(np.concatenate([self.encoded(locale, "train").lengths for locale in locales]))
            for name, locales in self.members.items()
        }
        return {name: len(self.batch_size.starts(found)) for name, found in lengths.items()}

    def eval_loaders(self, split: Split, locales: Sequence[str] | None = None) -> Loaders:
        """Creates evaluation loaders by locale, for this device; each row is on exactly one device."""
        return {
            locale: eval_loader(self.encoded(locale, split), self.settings.eval_batch_size, *self._place())
            for locale in locales or self.eval_locales
        }

    def val_dataloader(self) -> CombinedLoader:
        return CombinedLoader(self.eval_loaders("dev"), "sequential")

    def test_dataloader(self) -> CombinedLoader:
        return CombinedLoader(self.eval_loaders("test"), "sequential")

    def predict_dataloader(self) -> CombinedLoader:
        return CombinedLoader(self.eval_loaders("test"), "sequential")

    def label_counts(self, locale: str) -> np.ndarray:
        """Counts the labels of a train split, shape (labels,)."""
        return np.bincount(self.rows(locale, "train").labels, minlength=len(self.corpus.label_names))

    def _train_limit(self) -> int | None:
        limit = self.trainer.limit_train_batches if self.trainer else None
        if limit is None or (limit == 1.0 and isinstance(limit, float)):
            return None
        return limit if isinstance(limit, int) else int(max(self.member_batches().values()) * limit)

    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
