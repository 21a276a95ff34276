"""AdamW over members: torch's own steps and state, a thread a member."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from mu_lightning.models.optim import optimizer as optimizer_module
from mu_lightning.models.optim.optimizer import MemberAdamW


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The threads on which groups are stepped; torch has two."""
    found: list[str] = []
    step = MemberAdamW._step_group

    def seen(self: Any, group: Any, found_in_it: Any) -> None:
        found.append(f"{group['member']} on {threading.current_thread().name}")
        step(self, group, found_in_it)

    monkeypatch.setattr(optimizer_module.MemberAdamW, "_step_group", seen)
    torch.set_num_threads(2)
    yield found
    torch.set_num_threads(1)


def members() -> MemberAdamW:
    optimizer = MemberAdamW(groups(), lr=0.1, fused=True)
    optimizer.side_by_side = True
    return optimizer


def groups() -> list[dict[str, Any]]:
    drawn = torch.Generator().manual_seed(1)
    return [
        {"member": name, "weight_decay": decay, "params": [nn.Parameter(torch.randn(40, 7, generator=drawn))]}
        for name in ("one", "two")
        for decay in (0.1, 0.0)
    ]


def train(optimizer: AdamW, without: str = "") -> list[Tensor]:
    """Three steps; returns what was learned."""
    parameters = [(group["member"], parameter) for group in optimizer.param_groups for parameter in group["params"]]
    for number in range(3):
        for name, parameter in parameters:
            parameter.grad = None if name == without else torch.full_like(parameter, 0.5 - number)
        optimizer.step()
    return [parameter.detach() for _, parameter in parameters]


def test_members_step_on_threads_of_their_own_as_torch_steps_them(threads: list[str]) -> None:
    mine, plain = members(), AdamW(groups(), lr=0.1, fused=True)
    torch.testing.assert_close(train(mine), train(plain), atol=1e-6, rtol=0)
    assert len(threads) == 12
    assert not any(threading.current_thread().name in one for one in threads)
    state, expected = mine.state_dict(), plain.state_dict()
    assert list(state["state"]) == list(expected["state"]), "checkpoints of two runs are equal to the byte"
    torch.testing.assert_close(state["state"], expected["state"], atol=1e-6, rtol=0)
    plain.load_state_dict(state)


def test_a_member_without_a_gradient_is_left_alone_and_the_other_gets_all_threads(threads: list[str]) -> None:
    optimizer = members()
    before = [group["params"][0].detach().clone() for group in groups()]
    after = train(optimizer, without="two")
    assert threads == [f"one on {threading.current_thread().name}"] * 6
    assert [torch.equal(one, other) for one, other in zip(before, after, strict=True)] == [False, False, True, True]
    assert len(optimizer.state) == 2


def test_the_closure_computes_gradients_before_the_step() -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = MemberAdamW([{"member": "one", "params": [parameter]}], lr=0.1, fused=True)

    def closure() -> Tensor:
        loss = (parameter * 2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 6
    assert parameter.max().item() < 1


def test_members_take_all_threads_in_turn_unless_they_are_to_be_side_by_side(threads: list[str]) -> None:
    train(MemberAdamW(groups(), lr=0.1, fused=True))
    assert {one.partition(" on ")[2] for one in threads} == {threading.current_thread().name}
