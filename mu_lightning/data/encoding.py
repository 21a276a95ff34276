"""Tokenized rows in flat arrays: each text is tokenized once, and the result is cached by content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypedDict

import numpy as np
import torch
from torch import Tensor

from mu_lightning.checkpoints import forget_lengths
from mu_lightning.data.corpus import Rows
from mu_lightning.data.token_cache import cached
from mu_lightning.data.vocabulary import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Few distinct lengths keep oneDNN's cache of compiled kernels small; multiples of 8 suit tensor cores.
LENGTH_STEP = 8


class Batch(TypedDict):
    """Rows of one locale as tensors: B rows of L tokens.

    `index` (B,) holds the rows' places in their split, `share` the factor that makes the mean of the devices' mean
    losses the mean over the whole batch where the devices hold different numbers of rows.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    share: Tensor


@dataclass(frozen=True)
class EncodedRows:
    """A locale's split as tokens; row i is ``tokens[offsets[i]:offsets[i + 1]]``, special tokens included.

    As a map-style data set its items are whole batches: index it with a sequence of row numbers. Where a vocabulary is
    given, which holds all of the tokens, batches have its numbers in their place.
    """

    ids: Sequence[str]
    labels: np.ndarray
    tokens: np.ndarray
    offsets: np.ndarray
    pad_token_id: int
    vocabulary: Vocabulary | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return self.batch(rows)

    def batch(self, rows: Sequence[int], share: float = 1.0, step: int = LENGTH_STEP) -> Batch:
        """The batch of the given rows, padded to a multiple of `step` tokens."""
        index = np.asarray(rows, dtype=np.int64)
        lengths = self.lengths[index]
        width = padded_width(lengths.max(), step)
        columns = np.arange(width)
        mask = columns < lengths[:, None]
        positions = np.minimum(self.offsets[index][:, None] + columns, len(self.tokens) - 1)
        tokens = self.tokens[positions]
        if self.vocabulary is not None:
            tokens = self.vocabulary.places(tokens)
        input_ids = np.where(mask, tokens, self.pad_token_id)
        return Batch(
            input_ids=torch.from_numpy(input_ids.astype(np.int64)),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            labels=torch.from_numpy(self.labels[index]),
            index=torch.from_numpy(index),
            share=torch.tensor(share),
        )


def padded_width(length: int, step: int = LENGTH_STEP) -> int:
    """The width of a batch whose longest row has `length` tokens: a multiple of `step`."""
    return -(-int(length) // step) * step


def encode(rows: Rows, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> EncodedRows:
    """Tokenizes `rows`, or reads the tokens of the same texts under the same tokenizer from the cache.

    An array of the cache holds the rows' lengths, then their tokens; it is named by the SHA-256 of all that its
    content depends on, so it never needs to be invalidated.
    """
    key = hashlib.sha256(f"{rows.fingerprint} {tokenizer_fingerprint(tokenizer)} {max_length}".encode()).hexdigest()
    return _encoded(rows, cached(key, lambda: _numbers(rows.texts, tokenizer, max_length)), tokenizer)


def tokenize(rows: Rows, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> EncodedRows:
    """The same without the cache, for texts that come once."""
    return _encoded(rows, _numbers(rows.texts, tokenizer, max_length), tokenizer)


def _numbers(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> np.ndarray:
    """The texts' lengths, then their tokens."""
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length)["input_ids"] if len(texts) else []
    forget_lengths(tokenizer)
    lengths = [len(row) for row in encoded]
    tokens = (token for row in encoded for token in row)
    return np.fromiter(chain(lengths, tokens), dtype=np.int32, count=len(lengths) + sum(lengths))


def _encoded(rows: Rows, stored: np.ndarray, tokenizer: "PreTrainedTokenizerBase") -> EncodedRows:
    lengths, tokens = stored[: len(rows)], stored[len(rows) :]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    labels = np.asarray(rows.labels, dtype=np.int64)
    return EncodedRows(rows.ids, labels, tokens, offsets, int(tokenizer.pad_token_id))


def concatenate(parts: Mapping[str, EncodedRows]) -> EncodedRows:
    """The rows of several locales as one; ids are prefixed with the locale (``sq-AL/17``), so they stay unique."""
    first = next(iter(parts.values()))
    if len(parts) == 1:
        return first
    starts = np.cumsum([0, *(len(part.tokens) for part in parts.values())])
    offsets = [part.offsets[:-1] + start for part, start in zip(parts.values(), starts[:-1], strict=True)]
    return EncodedRows(
        ids=[f"{locale}/{name}" for locale, part in parts.items() for name in part.ids],
        labels=np.concatenate([part.labels for part in parts.values()]),
        tokens=np.concatenate([part.tokens for part in parts.values()]),
        offsets=np.concatenate([*offsets, starts[-1:]]),
        pad_token_id=first.pad_token_id,
        vocabulary=first.vocabulary,
    )


@lru_cache(maxsize=8)
def tokenizer_fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of the serialized tokenizer: vocabulary, normalizer and post-processor, all that decides tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _files_fingerprint(tokenizer)
    # How it was last asked to cut and pad stands in it too, and is nothing that it is.
    content = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _files_fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of a tokenizer that is written in Python, such as CANINE's: its class and the files that it saves."""
    digest = hashlib.sha256(type(tokenizer).__qualname__.encode())
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
