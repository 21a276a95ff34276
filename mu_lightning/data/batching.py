"""Samplers and loaders; batches are pure functions of seed, locale, epoch and rank."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from mu_lightning.data.encoding import LENGTH_STEP, Batch, EncodedRows, padded_width

# Number of batches in a bucket; rows are sorted by length within a bucket to reduce padding.
BATCHES_PER_BUCKET = 50
# Minimum tokens of an evaluation batch, below which padding is cheaper than another batch; measured on CPUs for hidden
# sizes of 128 and 768.
MIN_EVAL_TOKENS = 128


class Share(NamedTuple):
    """Rows of one device in a global batch, and their weight: 1 if all devices have equally many."""

    rows: list[int]
    share: float


class BatchSize(NamedTuple):
    """Batch size: a number of rows, or a maximum number of tokens including padding."""

    rows: int
    tokens: int | None = None

    def __str__(self) -> str:
        return str(self.rows) if self.tokens is None else f"at most {self.tokens:,} tokens"

    @property
    def most_rows(self) -> int:
        """Maximum number of rows in a batch."""
        return self.rows if self.tokens is None else self.tokens // LENGTH_STEP

    def starts(self, lengths: np.ndarray) -> list[int]:
        """Start index of each batch, for rows sorted by length."""
        if self.tokens is None:
            return list(range(0, len(lengths), self.rows))
        starts = [0]
        for row, length in enumerate(lengths.tolist()):
            if row > starts[-1] and (row + 1 - starts[-1]) * padded_width(length) > self.tokens:
                starts.append(row)
        return starts


class TrainSampler(Sampler[Share]):
    """Samples batches of row indices for one member and one device, shuffled each epoch and bucketed by length.

    All devices iterate over the same global batches and take their shares, so that two devices with half the batch size
    train on the same batches as one. The order depends on seed, name and epoch only: a member has the same batches
    alone and in joint training. All epochs have the same number of batches: with a token budget, rows are sorted by
    length over the whole epoch, and only rows of equal length are shuffled.

    Args:
        lengths: number of tokens of each row, shape (rows,).
        batch_size: size of a global batch.
        seed: random seed.
        name: name of the member.
        rank: rank of this device.
        world_size: number of devices.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: BatchSize, seed: int, name: str, rank: int = 0, world_size: int = 1
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.stretch = batch_size.rows * BATCHES_PER_BUCKET if batch_size.tokens is None else len(lengths)
        self.seed = seed
        self.name = name
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next iteration; called by Lightning."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batch_size.starts(np.sort(self.lengths)))

    def global_batches(self) -> Iterator[np.ndarray]:
        """Yields the global batches of an epoch; the last batch may be smaller."""
        random = np.random.default_rng(seed_of(self.seed, self.name, self.epoch))
        order = random.permutation(len(self.lengths))
        batches = []
        for start in range(0, len(order), self.stretch):
            part = order[start : start + self.stretch]
            part = part[np.argsort(self.lengths[part], kind="stable")]
            batches += np.split(part, self.batch_size.starts(self.lengths[part])[1:])
        yield from (batches[index] for index in random.permutation(len(batches)))

    def __iter__(self) -> Iterator[Share]:
        for batch in self.global_batches():
            mine = batch[self.rank :: self.world_size]
            share = len(mine) * self.world_size / len(batch)
            # A device without rows in a small last batch gets one with share 0: all devices must step.
            yield Share((mine if len(mine) else batch[:1]).tolist(), share)


class TrainRows(Dataset[Batch]):
    """Dataset for `TrainSampler`: items are batches with the device's share of the global batch."""

    def __init__(self, rows: EncodedRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Share) -> Batch:
        return self.rows.batch(item.rows, item.share)


class EvalRows(Dataset[Batch]):
    """Dataset for `eval_loader`: items are batches, padded to the longest row."""

    def __init__(self, rows: EncodedRows) -> None:
        self.rows = rows
        self.ids = rows.ids

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return self.rows.batch(rows, step=1)


def seed_of(*parts: object) -> int:
    """Derives a 63-bit seed from values, reproducibly on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def train_loader(
    rows: EncodedRows, batch_size: BatchSize, seed: int, name: str, rank: int = 0, world_size: int = 1
) -> "DataLoader[Batch]":
    """Creates the loader of train batches for one member."""
    sampler = TrainSampler(rows.lengths, batch_size, seed, name, rank, world_size)
    return DataLoader(TrainRows(rows), sampler=sampler, batch_size=None)


def eval_loader(rows: EncodedRows, batch_size: int, rank: int = 0, world_size: int = 1) -> "DataLoader[Batch]":
    """Creates a loader for evaluation: rows sorted by length, each exactly once over all devices.

    Batches have rows of equal length where possible, to avoid padding, which doubles the number of tokens for real
    text; only batches below `MIN_EVAL_TOKENS` continue with the next length.
    """
    order = np.argsort(rows.lengths, kind="stable")[rank::world_size]
    batches: list[list[int]] = []
    length = 0
    for row, longer in zip(order.tolist(), rows.lengths[order].tolist(), strict=True):
        full = batches and (len(batches[-1]) == batch_size or len(batches[-1]) * length >= MIN_EVAL_TOKENS)
        if not batches or (full and (longer != length or len(batches[-1]) == batch_size)):
            batches.append([])
        batches[-1].append(row)
        length = longer
    return DataLoader(EvalRows(rows), sampler=batches, batch_size=None)
