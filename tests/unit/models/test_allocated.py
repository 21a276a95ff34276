"""Memory that the process has for itself: told, watched, handed back."""

import mmap

import pytest
import torch

from mu_lightning.models.allocated import Watched, hand_back, private_memory

MIB = 2**20


def test_private_memory_grows_by_what_is_written_and_not_by_what_is_mapped() -> None:
    hand_back()
    before = private_memory()
    held = torch.ones(64 * MIB // 4)
    assert private_memory() - before == pytest.approx(64 * MIB, abs=8 * MIB)
    del held
    hand_back()
    assert private_memory() - before < 8 * MIB


def test_freed_small_pieces_are_handed_back() -> None:
    before = private_memory()
    pieces = [torch.ones(8192) for _ in range(2000)]
    grown = private_memory() - before
    assert grown > 50 * MIB
    last = pieces[-1]
    del pieces
    hand_back()
    assert private_memory() - before < grown / 4
    assert last.sum() == 8192


def test_the_most_is_seen_even_where_it_is_freed_again() -> None:
    with Watched(torch.device("cpu")) as watched:
        for _ in range(5):
            torch.ones(48 * MIB // 4).mul_(2).sum()
    assert watched.most == pytest.approx(48 * MIB, abs=12 * MIB)
    with Watched(torch.device("cpu")) as watched, mmap.mmap(-1, mmap.PAGESIZE):
        pass
    assert 0 <= watched.most < 4 * MIB
