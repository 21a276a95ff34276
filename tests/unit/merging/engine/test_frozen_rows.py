"""Rows that are left out of a tensor: put back for a while, and taken out of what comes in chunks."""

import torch

from mu_lightning.merging.engine.frozen_rows import FrozenRows


def test_rows_that_are_put_back_are_the_base_s_and_in_their_places() -> None:
    frozen_rows = FrozenRows(torch.tensor([1, 4, 5]), torch.arange(14.0).view(7, 2))
    at_hand = -torch.ones(3, 2)
    found = frozen_rows.rows(0, 7, at_hand)
    assert found[:, 0].tolist() == [0, -1, 4, 6, -1, -1, 12]
    assert torch.equal(frozen_rows.rows(3, 5, at_hand), found[3:5])
    (kept,) = frozen_rows.trimmed([found])
    assert torch.equal(kept, at_hand)
    assert torch.equal(torch.cat(list(frozen_rows.trimmed([found[:2], found[2:5], found[5:]]))), at_hand)
    assert torch.equal(frozen_rows.table[1], torch.tensor([2.0, 3.0])), "the table is never changed"
