"""What the strategy adds to Lightning's; what it computes is held by tests/verification/test_processes_agree.py."""

import atexit
from pathlib import Path

import pytest
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from mu_lightning.training.distributed import JointDDPStrategy


def test_a_process_leaves_its_group_when_the_program_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under gloo too, where a process that ends in its group is aborted now and then."""

    def join(self: DDPStrategy) -> None:
        distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)

    at_the_end = []
    monkeypatch.setattr(DDPStrategy, "setup_environment", join)
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    JointDDPStrategy().setup_environment()
    assert distributed.is_initialized()
    for leave in at_the_end * 2:  # a second Trainer in the same program registers it again
        leave()
    assert not distributed.is_initialized()
