"""Memory of the process: current, peak, released."""

import mmap
import subprocess
import sys

import pytest
import torch

from mu_lightning.utilities.process_memory import PeakMemory, private_memory, release_memory

MIB = 2**20


def test_private_memory_grows_by_what_is_written_and_not_by_what_is_mapped() -> None:
    release_memory()
    before = private_memory()
    held = torch.ones(64 * MIB // 4)
    assert private_memory() - before == pytest.approx(64 * MIB, abs=8 * MIB)
    del held
    release_memory()
    assert private_memory() - before < 8 * MIB


def test_freed_small_pieces_are_handed_back() -> None:
    before = private_memory()
    pieces = [torch.ones(8192) for _ in range(2000)]
    grown = private_memory() - before
    assert grown > 50 * MIB
    last = pieces[-1]
    del pieces
    release_memory()
    assert private_memory() - before < grown / 4
    assert last.sum() == 8192


@pytest.mark.parametrize("told", [True, False], ids=["by the system", "by looking"])
def test_the_most_is_seen_even_where_it_is_freed_again(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not told:  # another system than Linux
        monkeypatch.setattr("mu_lightning.utilities.process_memory._reset_peak", lambda: False)
    release_memory()
    with PeakMemory(torch.device("cpu")) as measured:
        for _ in range(5):
            torch.ones(48 * MIB // 4).mul_(2).sum()
    assert measured.peak == pytest.approx(48 * MIB, abs=12 * MIB)
    with PeakMemory(torch.device("cpu")) as measured, mmap.mmap(-1, mmap.PAGESIZE):
        pass
    assert 0 <= measured.peak < 4 * MIB


def test_what_is_freed_can_be_kept_for_the_next_step_and_still_be_handed_back() -> None:
    """In a process of its own: it is a setting of the whole process."""
    code = (
        "import torch\n"
        "from mu_lightning.utilities.process_memory import release_memory, retain_freed_memory, private_memory\n"
        "def held():\n"
        "    pieces = [torch.ones(2**18) for _ in range(48)]\n"
        "    del pieces\n"
        "    return private_memory() / 2**20\n"
        "torch.ones(1)\n"
        "before = private_memory() / 2**20\n"
        "freed = held() - before\n"
        "retain_freed_memory()\n"
        "kept = held() - before\n"
        "release_memory()\n"
        "print(freed, kept, private_memory() / 2**20 - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    freed, kept, after = map(float, done.stdout.split())
    assert freed < 16
    assert kept > 36
    assert after < 16
