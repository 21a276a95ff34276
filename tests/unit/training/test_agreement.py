"""A checksum tells any difference in bits; the processes of a run compare theirs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mu_lightning.training.agreement import check_agreement, checksum

SCRIPT = """
import sys, torch
from torch import distributed
from mu_lightning.training.agreement import check_agreement

rank, store, spoilt = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "spoilt"
distributed.init_process_group("gloo", init_method="file://" + store, rank=rank, world_size=2)
states = {name: {"encoder": torch.arange(6.0), "head": torch.ones(2, 3)} for name in ("nl-NL", "de-DE")}
if spoilt and rank == 1:
    states["de-DE"]["head"][1, 2] = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
try:
    check_agreement(states, "after merge 3")
    print("agreed")
finally:  # a process that leaves while gloo's threads still run may be aborted
    distributed.barrier()
    distributed.destroy_process_group()
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool])
def test_the_checksum_of_equal_bits_is_equal_and_of_one_changed_element_it_is_not(dtype: torch.dtype) -> None:
    tensor = torch.arange(24).reshape(4, 6).to(dtype)
    assert checksum(tensor) == checksum(tensor.clone())
    other = tensor.clone()
    other[0, 0] = 1
    assert checksum(tensor) != checksum(other)


def test_a_tensor_that_is_a_view_is_summed_by_its_own_elements() -> None:
    tensor = torch.randn(4, 6)
    assert checksum(tensor.T) == checksum(tensor)
    assert checksum(tensor[:, 1:]) == checksum(tensor[:, 1:].clone())


def test_a_single_process_has_nothing_to_compare() -> None:
    check_agreement({"nl-NL": {"encoder": torch.ones(2)}}, "after merge 1")


@pytest.mark.parametrize("state", ["whole", "spoilt"])
def test_two_processes_agree_or_both_name_what_differs(tmp_path: Path, state: str) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path / "store"), state],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in running:
        output, errors = process.communicate(timeout=60)
        if state == "whole":
            assert (process.returncode, output.strip()) == (0, "agreed"), errors
        else:
            assert process.returncode != 0
            assert "after merge 3 the 2 processes have different weights in 1 of 4 tensors (de-DE: head)" in errors
