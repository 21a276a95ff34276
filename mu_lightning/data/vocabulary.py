"""Subsets of a tokenizer's vocabulary."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """A subset of token ids; the new id of a token is its index in the subset.

    Attributes:
        kept: token ids in the subset, sorted and unique, int32 of shape (tokens,).
        size: size of the full vocabulary.
    """

    kept: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.kept)

    def places(self, tokens: np.ndarray) -> np.ndarray:
        """Maps token ids in the subset to new ids, of the same shape."""
        return np.searchsorted(self.kept, tokens)

    def check(self, tokens: np.ndarray, what: str) -> None:
        """Checks that all tokens are in the subset.

        Args:
            tokens: token ids, of any shape.
            what: name of the texts, for the error.

        Raises:
            UserError: tokens are outside the subset.
        """
        lacking = np.setdiff1d(tokens, self.kept)
        if len(lacking):
            raise UserError(
                f"{what} has {len(lacking)} tokens outside the run's vocabulary of {len(self)} (token ids "
                f"{', '.join(map(str, lacking[:3]))}{', ...' if len(lacking) > 3 else ''}): load the exported "
                "model, which has the full vocabulary, or train with --model.vocabulary full"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the size and the token ids in the subset."""
        return hashlib.sha256(f"{self.size} ".encode() + self.kept.astype("<i4").tobytes()).hexdigest()


def used_vocabulary(
    parts: Iterable[np.ndarray], tokenizer: "PreTrainedTokenizerBase", size: int, padding: int
) -> Vocabulary:
    """Collects the vocabulary of some texts.

    It includes special tokens and all ids up to that of padding, whose id must not change: XLM-R derives position ids
    from it.

    Args:
        parts: token ids of the texts.
        tokenizer: tokenizer, for special tokens.
        size: size of the full vocabulary.
        padding: token id of padding.
    """
    found = np.zeros(size, dtype=bool)
    found[: padding + 1] = True
    found[list(tokenizer.all_special_ids)] = True
    for tokens in parts:
        found[tokens] = True
    return Vocabulary(np.flatnonzero(found).astype(np.int32), size)
