"""What a corpus is: labeled rows for a locale and a split, with ids that are parallel across locales."""

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
    """The rows of one locale's split, in a fixed order; the three sequences have one length.

    Attributes:
        ids: names of the utterances, the same in every locale for the same content.
        texts: the utterances.
        labels: indices into the corpus' `label_names`; all -1 where the rows have no labels.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labeled(self) -> bool:
        """Whether there are rows, and they have labels: without, nothing can be trained on them or scored."""
        return len(self.labels) > 0 and self.labels[0] >= 0

    def select(self, places: Sequence[int]) -> "Rows":
        """The rows at `places`, in that order."""
        return Rows(
            [self.ids[place] for place in places],
            [self.texts[place] for place in places],
            [self.labels[place] for place in places],
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of every id, text and label in order."""
        digest = hashlib.sha256()
        for row in zip(self.ids, self.texts, self.labels, strict=True):
            digest.update("\x1f".join(map(str, row)).encode() + b"\x1e")
        return digest.hexdigest()


class Corpus(Protocol):
    """Where rows come from. An implementation is cheap to make: it reads a locale when that locale is asked for."""

    @property
    def name(self) -> str:
        """The corpus' name in folder names and results, such as ``massive``."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their indices."""

    @property
    def locales(self) -> tuple[str, ...]:
        """The locales that can be read, sorted."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the corpus settled by itself and the user should know, such as drawn splits; a sentence each."""

    def rows(self, locale: str, split: Split) -> Rows:
        """The rows of a locale's split; raises UserError for a locale or split that the corpus does not have."""


NO_ROWS = Rows((), (), ())


def check_labeled(corpus: "Corpus", locale: str, split: Split, rows: Rows, purpose: str) -> None:
    """Raises UserError where rows that need labels have none, or there are no rows.

    Args:
        corpus: where the rows are from.
        locale: whose they are.
        split: which they are.
        rows: the rows.
        purpose: what they are needed for, such as ``trained on``.
    """
    if not rows.labeled:
        lack = "rows have no labels" if len(rows) else "has no rows"
        raise UserError(
            f"{locale} cannot be {purpose}: its {split} {'split ' if not len(rows) else ''}{lack} in the corpus "
            f"{corpus.name}"
        )


@runtime_checkable
class AdoptsLabels(Protocol):
    """A corpus whose rows may be a sample that lacks some of a model's labels."""

    def adopt_labels(self, names: Sequence[str]) -> None:
        """Takes a model's labels in place of its own; a row with another one is refused when it is read."""


def check_labels(what: str, label_names: Sequence[str], corpus: Corpus) -> None:
    """Raises UserError unless a model's classes are the corpus', in the same order; a corpus of samples adopts them.

    Args:
        what: the model, as the error calls it.
        label_names: its classes.
        corpus: what it is to be used on.
    """
    if isinstance(corpus, AdoptsLabels):
        corpus.adopt_labels(label_names)
    if tuple(label_names) != corpus.label_names:
        raise UserError(
            f"{what} has other labels ({len(label_names)}: {label_names[0]}, ...) than the corpus {corpus.name} "
            f"({len(corpus.label_names)}: {corpus.label_names[0]}, ...): choose the corpus it was trained on "
            "with --corpus"
        )
