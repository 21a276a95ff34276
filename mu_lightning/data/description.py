"""Describes a corpus before training."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mu_lightning.data.corpus import SPLITS, Corpus, Rows, Split
from mu_lightning.locales import locale
from mu_lightning.utilities.tables import text_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Tokens:
    """Tokenizer statistics of a language.

    Attributes:
        per_word: tokens per whitespace-separated word, without special tokens (fertility).
        longest: tokens of the longest text, with special tokens.
        cut: share of the texts that would be truncated.
        unknown: share of unknown tokens.
    """

    per_word: float
    longest: int
    cut: float
    unknown: float


@dataclass(frozen=True)
class LanguageDescription:
    """One language of a corpus; shares are from 0 to 1, lengths in characters.

    Attributes:
        language: tag of the language.
        name: English name of the language.
        rows: split -> number of rows.
        labeled: splits with labels.
        labels: label -> number of labeled rows in all splits, most frequent first.
        balance: normalized entropy of the labels: 1 is perfectly balanced; None without labels.
        median_length: median length of the texts.
        longest: maximum length of the texts.
        repeated: share of duplicate texts.
        overlap: ``dev`` and ``test`` -> share of their texts that are also in train.
        tokens: tokenizer statistics, if a base is given.
    """

    language: str
    name: str
    rows: dict[Split, int]
    labeled: tuple[Split, ...]
    labels: dict[str, int]
    balance: float | None
    median_length: int
    longest: int
    repeated: float
    overlap: dict[Split, float] = field(default_factory=dict)
    tokens: Tokens | None = None

    def plain(self) -> dict[str, Any]:
        """Returns the description as plain values."""
        return asdict(self) | {"labeled": list(self.labeled)}


def describe_language(
    corpus: Corpus, tag: str, tokenizer: "PreTrainedTokenizerBase | None" = None, max_length: int = 64
) -> LanguageDescription:
    """Reads and describes a language of a corpus.

    Args:
        corpus: the corpus.
        tag: tag of the language.
        tokenizer: tokenizer of a base, for tokenizer statistics.
        max_length: maximum number of tokens.
    """
    parts = {split: corpus.rows(tag, split) for split in SPLITS}
    labeled = tuple(split for split, rows in parts.items() if rows.labeled)
    found = Counter(label for split in labeled for label in parts[split].labels)
    texts = [text for rows in parts.values() for text in rows.texts]
    lengths = np.array([len(text) for text in texts])
    train = set(parts["train"].texts)
    names = corpus.label_names if labeled else ()
    counts = sorted(((name, found[index]) for index, name in enumerate(names)), key=lambda item: -item[1])
    return LanguageDescription(
        language=tag,
        name=locale(tag).name,
        rows={split: len(rows) for split, rows in parts.items()},
        labeled=labeled,
        labels=dict(counts),
        balance=_balance([count for _, count in counts]) if labeled else None,
        median_length=int(np.median(lengths)),
        longest=int(lengths.max()),
        repeated=1 - len(set(texts)) / len(texts),
        overlap={split: _share_in(parts[split], train) for split in ("dev", "test") if len(parts[split])},
        tokens=None if tokenizer is None else _tokens(texts, tokenizer, max_length),
    )


def _balance(counts: Sequence[int]) -> float:
    shares = np.array([count for count in counts if count]) / sum(counts)
    return float(-(shares * np.log(shares)).sum() / np.log(len(counts))) if len(counts) > 1 else 0.0


def _share_in(rows: Rows, texts: set[str]) -> float:
    return sum(text in texts for text in rows.texts) / len(rows)


def _tokens(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> Tokens:
    encoded = tokenizer(list(texts))["input_ids"]
    lengths = np.array([len(row) for row in encoded])
    special = tokenizer.num_special_tokens_to_add()
    unknown = sum(row.count(tokenizer.unk_token_id) for row in encoded)
    own = int((lengths - special).sum())
    words = sum(len(text.split()) for text in texts)
    return Tokens(own / words, int(lengths.max()), float((lengths > max_length).mean()), unknown / max(1, own))


def show(found: Sequence[LanguageDescription]) -> str:
    """Formats the descriptions as a table; lengths are median and maximum characters."""
    with_tokens = any(one.tokens for one in found)
    header = (
        *("", *SPLITS, "labels", "most frequent", "balance", "length", "test in train"),
        *(("tokens/word", "cut", "unknown") if with_tokens else ()),
    )
    return text_table(header, [_row(one) for one in found])


def _row(one: LanguageDescription) -> list[str]:
    used = {name: count for name, count in one.labels.items() if count}
    row = [one.language, *(f"{one.rows[split]:,}" for split in SPLITS)]
    if used:
        first, count = next(iter(used.items()))
        first = first if len(first) <= 16 else f"{first[:15]}…"
        row += [str(len(used)), f"{first} {count / sum(used.values()):.0%}", f"{one.balance:.2f}"]
    else:
        row += ["none", "", ""]
    overlap = f"{one.overlap['test']:.1%}" if "test" in one.overlap else ""
    row += [f"{one.median_length}-{one.longest}", overlap]
    if one.tokens is not None:
        tokens = one.tokens
        row += [f"{tokens.per_word:.1f}", f"{tokens.cut:.1%}", f"{tokens.unknown:.2%}"]
    return row


def remarks(found: Sequence[LanguageDescription]) -> list[str]:
    """Returns warnings about a corpus; one sentence each."""
    lines = []
    for one in found:
        if not one.labeled:
            lines.append(f"{one.language}: no labels: usable as a target, without evaluation")
        elif "test" not in one.labeled:
            lines.append(f"{one.language}: no labeled test rows: models are not evaluated")
        elif "train" not in one.labeled:
            lines.append(f"{one.language}: no labeled train rows: usable as a target, not as a source")
        if one.repeated > 0.05:
            lines.append(f"{one.language}: {one.repeated:.0%} of the rows are duplicates")
        missing = [name for name, count in one.labels.items() if not count]
        if missing:
            shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            lines.append(f"{one.language}: no rows of {len(missing)} of the corpus' labels ({shown})")
        for split, share in one.overlap.items():
            if share > 0.05:
                lines.append(f"{one.language}: {share:.0%} of the {split} texts are in train, too: biased scores")
        if one.tokens is not None and one.tokens.unknown > 0.01:
            lines.append(f"{one.language}: {one.tokens.unknown:.1%} of the tokens are unknown to the tokenizer")
        if one.tokens is not None and one.tokens.cut > 0.01:
            lines.append(f"{one.language}: {one.tokens.cut:.1%} of the texts would be truncated: raise --max-length")
    return lines
