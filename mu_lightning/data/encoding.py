"""Tokenized rows in flat arrays, cached by content."""

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

# Few distinct lengths limit the number of oneDNN kernels; multiples of 8 suit tensor cores.
LENGTH_STEP = 8


class Batch(TypedDict):
    """A batch of one locale as tensors: B rows of L tokens.

    `index` (B,) has the row indices in the split. `share` weights the mean loss of a device so that the mean over
    devices is the mean over the global batch.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    index: Tensor
    share: Tensor


@dataclass(frozen=True)
class EncodedRows:
    """Tokens of a split; row i is ``tokens[offsets[i]:offsets[i + 1]]``, with special tokens.

    It is a map-style dataset of batches, indexed by sequences of row indices. With a vocabulary subset, batches have
    the token ids of the subset.
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
        """Number of tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return self.batch(rows)

    def batch(self, rows: Sequence[int], share: float = 1.0, step: int = LENGTH_STEP) -> Batch:
        """Returns a batch of rows, padded to a multiple of `step` tokens."""
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
    """Rounds a length up to a multiple of `step`."""
    return -(-int(length) // step) * step


def encode(rows: Rows, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> EncodedRows:
    """Tokenizes rows, or reads their tokens from the cache.

    A cached array has lengths and tokens. It is named by the SHA-256 of texts and tokenizer, and is never invalid.
    """
    key = hashlib.sha256(f"{rows.fingerprint} {tokenizer_fingerprint(tokenizer)} {max_length} 2".encode()).hexdigest()
    return _encoded(rows, cached(key, lambda: _numbers(rows.texts, tokenizer, max_length)), tokenizer)


def tokenize(rows: Rows, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> EncodedRows:
    """Tokenizes rows without the cache."""
    return _encoded(rows, _numbers(rows.texts, tokenizer, max_length), tokenizer)


def _numbers(texts: Sequence[str], tokenizer: "PreTrainedTokenizerBase", max_length: int) -> np.ndarray:
    """Returns lengths and tokens of texts in one array."""
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
    """Concatenates rows of several locales; ids are prefixed with the locale (``sq-AL/17``)."""
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
    """SHA-256 of the serialized tokenizer: vocabulary, normalizer, post-processor."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _files_fingerprint(tokenizer)
    # Ignore the truncation and padding of the last call.
    content = json.loads(backend.to_str()) | {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _files_fingerprint(tokenizer: "PreTrainedTokenizerBase") -> str:
    """SHA-256 of a Python tokenizer, such as CANINE's: its class and saved files."""
    digest = hashlib.sha256(type(tokenizer).__qualname__.encode())
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
