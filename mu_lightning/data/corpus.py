"""What a corpus is: labelled rows for a locale and a split, with ids that are parallel across locales."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

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
