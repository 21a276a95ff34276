"""Rows that are left out of a tensor: put back for a while, and taken out of what comes in pieces."""

import torch

from mu_lightning.merging.engine.frozen_rows import LeftOut


def test_rows_that_are_put_back_are_the_base_s_and_in_their_places() -> None:
    left_out = LeftOut(torch.tensor([1, 4, 5]), torch.arange(14.0).view(7, 2))
    at_hand = -torch.ones(3, 2)
    found = left_out.rows(0, 7, at_hand)
    assert found[:, 0].tolist() == [0, -1, 4, 6, -1, -1, 12]
    assert torch.equal(left_out.rows(3, 5, at_hand), found[3:5])
    (kept,) = left_out.trimmed([found])
    assert torch.equal(kept, at_hand)
    assert torch.equal(torch.cat(list(left_out.trimmed([found[:2], found[2:5], found[5:]]))), at_hand)
    assert torch.equal(left_out.table[1], torch.tensor([2.0, 3.0])), "the table is never changed"
