"""Which rows make a batch: each once an epoch, of similar length, the same whoever else trains."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.data.batching import BATCHES_PER_BUCKET, BatchSize, TrainSampler, seed_of
from mu_lightning.data.encoding import padded_width

LENGTHS = np.random.default_rng(3).integers(3, 60, size=3 * BATCHES_PER_BUCKET * 4 + 7)


def batches(seed: int = 0, name: str = "en-US", epoch: int = 0, lengths: np.ndarray = LENGTHS) -> list[list[int]]:
    sampler = TrainSampler(lengths, BatchSize(4), seed, name)
    sampler.set_epoch(epoch)
    return [share.rows for share in sampler]


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 800, 807])
def test_an_epoch_has_each_row_once_in_full_batches_but_one(rows: int) -> None:
    found = batches(lengths=LENGTHS[:rows])
    assert sorted(chain.from_iterable(found)) == list(range(min(rows, len(LENGTHS))))
    sizes = sorted(map(len, found))
    assert set(sizes[1:]) <= {4}
    assert len(found) == len(TrainSampler(LENGTHS[:rows], BatchSize(4), 0, "en-US"))


def test_the_order_depends_on_seed_member_and_epoch_and_on_nothing_else() -> None:
    assert batches() == batches()
    for other in (batches(seed=1), batches(name="de-DE"), batches(epoch=1)):
        assert other != batches()


def test_each_epoch_mixes_other_rows_into_a_batch() -> None:
    first = {frozenset(batch) for batch in batches(epoch=0)}
    assert not first & {frozenset(batch) for batch in batches(epoch=1)}


def test_a_batch_has_rows_of_similar_length_and_batches_come_in_no_order_of_length() -> None:
    spread = [np.ptp(LENGTHS[batch]) for batch in batches()]
    assert np.mean(spread) < np.ptp(LENGTHS) / 10
    lengths = [LENGTHS[batch].mean() for batch in batches()]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.3


BUDGET = BatchSize(4, tokens=200)


@pytest.mark.parametrize("epoch", [0, 1, 7])
@pytest.mark.parametrize("rows", [1, 2, 807])
def test_batches_fill_a_budget_of_tokens_and_are_equally_many_in_each_epoch(rows: int, epoch: int) -> None:
    lengths = LENGTHS[:rows]
    sampler = TrainSampler(lengths, BUDGET, 0, "en-US")
    sampler.set_epoch(epoch)
    found = [share.rows for share in sampler]
    assert sorted(chain.from_iterable(found)) == list(range(len(lengths)))
    assert len(found) == len(sampler)
    padded = [len(batch) * padded_width(lengths[batch].max()) for batch in found]
    assert max(padded) <= 200
    assert max(map(len, found)) <= BUDGET.most_rows
    # Batches end where a row more would not fit: those of rows of one length are as full as can be.
    for batch in found:
        longest = lengths[batch].max()
        later = [row for other in found for row in other if lengths[row] > longest]
        if later:
            shortest = lengths[later].min()
            assert (len(batch) + 1) * padded_width(shortest) > 200 or (lengths == longest).sum() > len(batch)


def test_a_budget_of_tokens_mixes_rows_and_orders_batches_anew_each_epoch() -> None:
    def epoch(number: int) -> list[frozenset[int]]:
        sampler = TrainSampler(LENGTHS, BUDGET, 0, "en-US")
        sampler.set_epoch(number)
        return [frozenset(share.rows) for share in sampler]

    assert epoch(0) == epoch(0)
    assert len(set(epoch(0)) & set(epoch(1))) < len(epoch(0)) / 4
    lengths = [LENGTHS[list(batch)].mean() for batch in epoch(0)]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.3


def test_a_row_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    assert BatchSize(1, tokens=16).starts(np.array([5, 8, 40, 41])) == [0, 2, 3]


def test_two_devices_share_the_batches_of_a_budget() -> None:
    whole = list(TrainSampler(LENGTHS, BUDGET, 0, "x"))
    parts = zip(*(TrainSampler(LENGTHS, BUDGET, 0, "x", rank, 2) for rank in range(2)), strict=True)
    for both, (one, other) in zip(whole, parts, strict=True):
        assert len(both.rows) == 1 or sorted(both.rows) == sorted(one.rows + other.rows)


def test_a_lone_device_weighs_every_batch_fully() -> None:
    assert {share.share for share in TrainSampler(LENGTHS, BatchSize(4), 0, "en-US")} == {1.0}


def test_a_device_without_a_row_of_the_last_batch_steps_on_one_that_weighs_nothing() -> None:
    shares = [next(iter(TrainSampler(LENGTHS[:1], BatchSize(4), 0, "x", rank, 3))) for rank in range(3)]
    assert [share.rows for share in shares] == [[0], [0], [0]]
    assert [share.share for share in shares] == [3.0, 0.0, 0.0]


def test_a_seed_is_the_same_in_every_process_and_fits_torch() -> None:
    code = "from mu_lightning.data.batching import seed_of; print(seed_of(0, 'en-US', 3))"
    root = Path(__file__).parents[3]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True).stdout
    assert int(printed) == seed_of(0, "en-US", 3)
    assert len({seed_of(*parts) for parts in [(0, "a"), (0, "b"), (1, "a"), ("a", 0), (0, "a", 0)]}) == 5
    assert all(0 <= seed_of(number) < 2**63 for number in range(1000))
    assert any(seed_of(number) >= 2**62 for number in range(100)), "bits are thrown away"
