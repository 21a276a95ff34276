"""Which rows make a batch, as a pure function of seed, locale, epoch and rank: nothing to store, nothing to drift."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import DataLoader, Dataset, Sampler

from mu_lightning.data.encoding import LENGTH_STEP, Batch, EncodedRows, padded_width

# Batches are cut from stretches of this many batches, sorted by length within: little padding, and still random.
STRETCH = 50
# Below this many tokens a batch of an evaluation costs more than its padding would: measured on CPUs, for models of 128
# and of 768 columns.
FEWEST_TOKENS = 128


class Share(NamedTuple):
    """A device's rows of one global batch, and their weight: 1 where all devices hold equally many."""

    rows: list[int]
    share: float


class BatchSize(NamedTuple):
    """How many rows make a batch: `rows` of them or, where `tokens` is given, as many as fit into those, padded."""

    rows: int
    tokens: int | None = None

    def __str__(self) -> str:
        return str(self.rows) if self.tokens is None else f"at most {self.tokens:,} tokens"

    @property
    def most_rows(self) -> int:
        """Rows that a batch can have."""
        return self.rows if self.tokens is None else self.tokens // LENGTH_STEP

    def starts(self, lengths: np.ndarray) -> list[int]:
        """Where batches begin among rows of these lengths, which grow; shape (rows,) of tokens."""
        if self.tokens is None:
            return list(range(0, len(lengths), self.rows))
        starts = [0]
        for row, length in enumerate(lengths.tolist()):
            if row > starts[-1] and (row + 1 - starts[-1]) * padded_width(length) > self.tokens:
                starts.append(row)
        return starts


class TrainSampler(Sampler[Share]):
    """Batches of row numbers for one locale and one device, shuffled anew each epoch and bucketed by length.

    Every device walks the same sequence of global batches and takes its share of each, so two devices with half the
    batch size train on the same batches as one. The order depends on (seed, name, epoch) alone: a locale sees the
    same batches whether it trains alone or beside others. An epoch has equally many batches whatever its number: under
    a budget of tokens rows are sorted by length through the whole epoch, and only which of one length meet changes.

    Args:
        lengths: tokens of each row, shape (rows,).
        batch_size: of a global batch.
        seed: the run's seed.
        name: the member's name, so that members do not share one order.
        rank: this device's number.
        world_size: the number of devices.
    """

    def __init__(
        self, lengths: np.ndarray, batch_size: BatchSize, seed: int, name: str, rank: int = 0, world_size: int = 1
    ) -> None:
        self.lengths = lengths
        self.batch_size = batch_size
        self.stretch = batch_size.rows * STRETCH if batch_size.tokens is None else len(lengths)
        self.seed = seed
        self.name = name
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order the next iteration gives; Lightning calls this at each epoch's start."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.batch_size.starts(np.sort(self.lengths)))

    def global_batches(self) -> Iterator[np.ndarray]:
        """The epoch's batches over all devices together; each row once, the last batch may be smaller."""
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
            # A device without a row of a last, small batch takes one with a share of 0: all devices must step.
            yield Share((mine if len(mine) else batch[:1]).tolist(), share)


class TrainRows(Dataset[Batch]):
    """The data set under a `TrainSampler`: an item is a batch, with its device's share of the global batch."""

    def __init__(self, rows: EncodedRows) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Share) -> Batch:
        return self.rows.batch(item.rows, item.share)


class EvalRows(Dataset[Batch]):
    """The data set under `eval_loader`: an item is the batch of the rows that are asked for, as wide as the longest."""

    def __init__(self, rows: EncodedRows) -> None:
        self.rows = rows
        self.ids = rows.ids

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Sequence[int]) -> Batch:
        return self.rows.batch(rows, step=1)


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any values, equal on every machine and in every process."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def train_loader(
    rows: EncodedRows, batch_size: BatchSize, seed: int, name: str, rank: int = 0, world_size: int = 1
) -> "DataLoader[Batch]":
    """Batches for training one member; its sampler reshuffles at each epoch."""
    sampler = TrainSampler(rows.lengths, batch_size, seed, name, rank, world_size)
    return DataLoader(TrainRows(rows), sampler=sampler, batch_size=None)


def eval_loader(rows: EncodedRows, batch_size: int, rank: int = 0, world_size: int = 1) -> "DataLoader[Batch]":
    """Every row of this device's part exactly once, sorted by length; the parts are disjoint and cover the split.

    A batch ends where the length changes, so hardly anything is padded: padding to the longest of even a few rows of
    real text doubles the tokens. Only a batch that would be too small to be worth it goes on with the next length.
    """
    order = np.argsort(rows.lengths, kind="stable")[rank::world_size]
    batches: list[list[int]] = []
    length = 0
    for row, longer in zip(order.tolist(), rows.lengths[order].tolist(), strict=True):
        full = batches and (len(batches[-1]) == batch_size or len(batches[-1]) * length >= FEWEST_TOKENS)
        if not batches or (full and (longer != length or len(batches[-1]) == batch_size)):
            batches.append([])
        batches[-1].append(row)
        length = longer
    return DataLoader(EvalRows(rows), sampler=batches, batch_size=None)
