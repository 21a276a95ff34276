"""What a corpus is: labeled rows for a locale and a split, with ids that are parallel across locales."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from mu_lightning.utilities.errors import UserError

Split = Literal["train", "dev", "test"]
SPLITS: tuple[Split, ...] = ("train", "dev", "test")


@dataclass(frozen=True)
class Rows:
    """The rows of one locale's split, in a fixed order; the three sequences have one length.

    Attributes:
        ids: names of the utterances, the same in every locale for the same content.
        texts: the utterances.
        labels: indices into the corpus' `label_names`.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.ids)

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

    def rows(self, locale: str, split: Split) -> Rows:
        """The rows of a locale's split; raises UserError for a locale or split that the corpus does not have."""


def check_labels(what: str, label_names: Sequence[str], corpus: Corpus) -> None:
    """Raises UserError unless a model's classes are the corpus', in the same order.

    Args:
        what: the model, as the error calls it.
        label_names: its classes.
        corpus: what it is to be used on.
    """
    if tuple(label_names) != corpus.label_names:
        raise UserError(
            f"{what} has other labels ({len(label_names)}: {label_names[0]}, ...) than the corpus {corpus.name} "
            f"({len(corpus.label_names)}: {corpus.label_names[0]}, ...): choose the corpus it was trained on "
            "with --corpus"
        )
