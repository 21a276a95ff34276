"""What is known of a language from its unlabeled text: subwords and sizes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mu_lightning.data.corpus import SPLITS, Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS = 1000  # per language


@dataclass(frozen=True, eq=False)
class Profile:
    """Text statistics of a language.

    Attributes:
        tokens: token id -> occurrences in the first `TEXTS` texts.
        words: whitespace-separated words of these texts.
        train_rows: labeled train rows of the language.
    """

    tokens: Counter[int]
    words: int
    train_rows: int

    @property
    def tokens_per_word(self) -> float:
        """Tokens per whitespace-separated word (fertility)."""
        return self.tokens.total() / max(1, self.words)

    def coverage(self, other: "Profile") -> float:
        """Share of the token occurrences of `other` whose token occurs here, too; 0 to 1."""
        return sum(count for token, count in other.tokens.items() if token in self.tokens) / other.tokens.total()

    def overlap(self, other: "Profile") -> float:
        """Jaccard index of both sets of tokens; 0 to 1."""
        return len(self.tokens.keys() & other.tokens.keys()) / len(self.tokens.keys() | other.tokens.keys())


def profiles(corpus: Corpus, tags: Iterable[str], tokenizer: "PreTrainedTokenizerBase") -> dict[str, Profile]:
    """Profiles of the languages that have text in a corpus: train text, or that of another split.

    Args:
        corpus: the corpus; labels are not used.
        tags: languages; those without text are missing in the result.
        tokenizer: tokenizer of the base.
    """
    found = {}
    for tag in tags:
        if tag not in corpus.locales:
            continue
        parts = [corpus.rows(tag, split) for split in SPLITS]
        texts = list(next((rows.texts for rows in parts if len(rows)), ()))[:TEXTS]
        tokens = Counter(token for row in tokenizer(texts, add_special_tokens=False)["input_ids"] for token in row)
        if tokens:
            train = parts[0]
            rows = len(train) if train.labeled else 0
            found[tag] = Profile(tokens, sum(len(text.split()) for text in texts), rows)
    return found
