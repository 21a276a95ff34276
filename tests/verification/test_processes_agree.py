"""One process with all members, one with members in turns, two processes: the same global batches, the same weights."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_processes.py")
_script = runpy.run_path(str(SCRIPT))
CASES, WEIGHTS, run = _script["CASES"], _script["WEIGHTS"], _script["run"]
# What summing a batch's gradient in two parts may change in float32. The bias of attention's keys is left out: it moves
# all scores of a query alike, so it changes nothing, its gradient is rounding alone, and AdamW makes steps of that.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> dict[str, Any]:
    """What two processes over gloo found; without dropout, which draws other numbers on another device."""
    output = tmp_path_factory.mktemp("pair") / "found.pt"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tiny_base), str(output), *CASES],
            env={
                **os.environ,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "WORLD_SIZE": "2",
                "LOCAL_RANK": str(rank),
                "NODE_RANK": "0",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=180)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    return torch.load(output, weights_only=True)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_learns_from_the_same_global_batches(
    pair: dict[str, Any], tiny_base: Path, case: str
) -> None:
    alone = run(tiny_base, devices=1, **CASES[case])
    both = pair[case]
    assert both["steps"] == alone["steps"]
    assert both["merges"] == alone["merges"] != []
    difference = max(
        float((alone["weights"][name][key] - both["weights"][name][key]).abs().max())
        for name in WEIGHTS
        for key in alone["weights"][name]
        if not key.endswith("attention.self.key.bias")
    )
    # Rounding grows where moments are begun anew, or nothing brings members together again.
    assert 0 < difference < (TOLERANCE if "merging" not in CASES[case] else 100 * TOLERANCE)
    # Every row once, whichever device read it.
    assert both["rows"] == alone["rows"]
    assert both["predictions"] == alone["predictions"]
    # What is logged is of the whole batch, and not one device's part of it, nor times its share.
    assert len(both["losses"]) == len(alone["losses"]) == alone["steps"]
    assert all(alone["losses"])
    for logged, expected in zip(both["losses"], alone["losses"], strict=True):
        assert logged == pytest.approx(expected, abs=1e-4)


def test_two_processes_with_members_in_turns_give_the_same_bits_as_with_all_at_once(pair: dict[str, Any]) -> None:
    for name in WEIGHTS:
        one, other = pair["joint"]["weights"][name], pair["in turns"]["weights"][name]
        assert all(torch.equal(one[key], other[key]) for key in one)
