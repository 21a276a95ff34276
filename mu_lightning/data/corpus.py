"""Corpora: labeled rows by locale and split, with ids that are parallel across locales."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

from mu_lightning.utilities.errors import UserError

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Rows:
    """Rows of one split of a locale, in a fixed order; all sequences have the same length.

    Attributes:
        ids: ids of the utterances, parallel across locales.
        texts: the utterances.
        labels: indices into `label_names` of the corpus; all -1 for unlabeled rows.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labeled(self) -> bool:
        """Whether there are labeled rows, as needed for training and evaluation."""
        return len(self.labels) > 0 and self.labels[0] >= 0

    def select(self, places: Sequence[int]) -> "Rows":
        """Returns the rows with the given indices."""
        return Rows(
            [self.ids[place] for place in places],
            [self.texts[place] for place in places],
            [self.labels[place] for place in places],
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of all ids, texts and labels."""
        digest = hashlib.sha256()
        for row in zip(self.ids, self.texts, self.labels, strict=True):
            digest.update("\x1f".join(map(str, row)).encode() + b"\x1e")
        return digest.hexdigest()


class Corpus(Protocol):
    """Interface of corpora. Construction is cheap: locales are read on access."""

    @property
    def name(self) -> str:
        """Name in folder names and results, such as ``massive``."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """Class names by index."""

    @property
    def locales(self) -> tuple[str, ...]:
        """Available locales, sorted."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user, such as random splits; one sentence each."""

    def rows(self, locale: str, split: Split) -> Rows:
        """Returns the rows of a split; raises UserError for an unknown locale or split."""


NO_ROWS = Rows((), (), ())


def check_labeled(corpus: "Corpus", locale: str, split: Split, rows: Rows, purpose: str) -> None:
    """Raises UserError if rows are missing or unlabeled.

    Args:
        corpus: the corpus.
        locale: locale of the rows.
        split: split of the rows.
        rows: the rows.
        purpose: purpose of the rows, such as ``trained on``.
    """
    if not rows.labeled:
        lack = "rows have no labels" if len(rows) else "has no rows"
        raise UserError(
            f"{locale} cannot be {purpose}: its {split} {'split ' if not len(rows) else ''}{lack} in the corpus "
            f"{corpus.name}"
        )


@runtime_checkable
class AdoptsLabels(Protocol):
    """A corpus that may lack some labels of a model."""

    def adopt_labels(self, names: Sequence[str]) -> None:
        """Uses the labels of a model; rows with other labels are errors."""


def check_labels(what: str, label_names: Sequence[str], corpus: Corpus) -> None:
    """Raises UserError unless model and corpus have the same classes in the same order; some corpora adopt them.

    Args:
        what: name of the model, for the error.
        label_names: class names of the model.
        corpus: the corpus.
    """
    if isinstance(corpus, AdoptsLabels):
        corpus.adopt_labels(label_names)
    if tuple(label_names) != corpus.label_names:
        raise UserError(
            f"{what} has other labels ({len(label_names)}: {label_names[0]}, ...) than the corpus {corpus.name} "
            f"({len(corpus.label_names)}: {corpus.label_names[0]}, ...): choose the corpus it was trained on "
            "with --corpus"
        )
