"""The pieces of a vocabulary that some texts can be made of, and their numbers among themselves."""

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
    """The kept pieces; a kept piece's new number is its place among them.

    Attributes:
        kept: the kept pieces' token ids, sorted, each once, int32 of shape (pieces,).
        size: how many token ids there are in all.
    """

    kept: np.ndarray
    size: int

    def __len__(self) -> int:
        return len(self.kept)

    def places(self, tokens: np.ndarray) -> np.ndarray:
        """The new numbers of kept tokens, of the tokens' shape."""
        return np.searchsorted(self.kept, tokens)

    def check(self, tokens: np.ndarray, what: str) -> None:
        """Refuses tokens that are not kept: nothing stands for them.

        Args:
            tokens: token ids, of any shape.
            what: the text, as the error calls it.

        Raises:
            UserError: there are such tokens.
        """
        lacking = np.setdiff1d(tokens, self.kept)
        if len(lacking):
            raise UserError(
                f"{what} has {len(lacking)} pieces that the run's {len(self)} do not hold (token ids "
                f"{', '.join(map(str, lacking[:3]))}{', ...' if len(lacking) > 3 else ''}): load the model from its "
                "folder, which has all, or train with --model.vocabulary full"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the size and the kept token ids."""
        return hashlib.sha256(f"{self.size} ".encode() + self.kept.astype("<i4").tobytes()).hexdigest()


def used_vocabulary(
    parts: Iterable[np.ndarray], tokenizer: "PreTrainedTokenizerBase", size: int, padding: int
) -> Vocabulary:
    """The vocabulary of some texts.

    Special tokens are always in it, and so is every id up to the padding's: it keeps its number, from which XLM-R
    counts positions.

    Args:
        parts: the texts' token ids.
        tokenizer: names the special tokens.
        size: token ids in all.
        padding: the padding's token id.
    """
    found = np.zeros(size, dtype=bool)
    found[: padding + 1] = True
    found[list(tokenizer.all_special_ids)] = True
    for tokens in parts:
        found[tokens] = True
    return Vocabulary(np.flatnonzero(found).astype(np.int32), size)
