"""Which rows make a batch: each once an epoch, of similar length, the same whoever else trains."""

import subprocess
import sys
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.data.batching import STRETCH, TrainSampler, seed_of

LENGTHS = np.random.default_rng(3).integers(3, 60, size=3 * STRETCH * 4 + 7)


def batches(seed: int = 0, name: str = "en-US", epoch: int = 0, lengths: np.ndarray = LENGTHS) -> list[list[int]]:
    sampler = TrainSampler(lengths, 4, seed, name)
    sampler.set_epoch(epoch)
    return [share.rows for share in sampler]


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 800, 807])
def test_an_epoch_has_each_row_once_in_full_batches_but_one(rows: int) -> None:
    found = batches(lengths=LENGTHS[:rows])
    assert sorted(chain.from_iterable(found)) == list(range(min(rows, len(LENGTHS))))
    sizes = sorted(map(len, found))
    assert set(sizes[1:]) <= {4}
    assert len(found) == len(TrainSampler(LENGTHS[:rows], 4, 0, "en-US"))


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


def test_a_lone_device_weighs_every_batch_fully() -> None:
    assert {share.share for share in TrainSampler(LENGTHS, 4, 0, "en-US")} == {1.0}


def test_a_device_without_a_row_of_the_last_batch_steps_on_one_that_weighs_nothing() -> None:
    shares = [next(iter(TrainSampler(LENGTHS[:1], 4, 0, "x", rank, 3))) for rank in range(3)]
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
