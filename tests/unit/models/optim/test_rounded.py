"""AdamW with moments in bfloat16: stochastic rounding, and state that survives a checkpoint."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mu_lightning.models.optim import rounded
from mu_lightning.models.optim.optimizer import MemberAdamW
from mu_lightning.models.optim.rounded import RoundedAdamW, random_bits, round_to

SHAPES = ((40, 7), (11,), (), (3, 5, 2))


def groups(names: Sequence[str] = ("one", "two"), shapes: Sequence[tuple[int, ...]] = SHAPES) -> list[dict[str, Any]]:
    """Two groups a member, with the same weights in each member."""
    found = []
    for name in names:
        drawn = torch.Generator().manual_seed(1)
        for decay in (0.1, 0.0):
            parameters = [nn.Parameter(torch.randn(shape, generator=drawn)) for shape in shapes]
            found.append({"member": name, "weight_decay": decay, "params": parameters})
    return found


def made(names: Sequence[str] = ("one", "two"), seed: int = 0, **changes: Any) -> RoundedAdamW:
    return RoundedAdamW(groups(names, **changes), seed, lr=0.1, fused=True)


def train(optimizer: torch.optim.Optimizer, steps: Sequence[int]) -> dict[str, list[Tensor]]:
    """Steps; gives each member's weights and moments."""
    found: dict[str, list[Tensor]] = {}
    for number in steps:
        for group in optimizer.param_groups:
            drawn = torch.Generator().manual_seed(number)
            for parameter in group["params"]:
                parameter.grad = torch.randn(parameter.shape, generator=drawn)
        optimizer.step()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found.setdefault(group["member"], []).extend([parameter.detach(), *optimizer.state[parameter].values()])
    return found


def assert_same(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    assert [tensor.dtype for tensor in one] == [tensor.dtype for tensor in other]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def second_moment(steps: int) -> float:
    """The mean second moment after gradients of 1, and then of nothing, where beta2 = 0.999 lets it fall."""
    weight = nn.Parameter(torch.zeros(4096))
    optimizer = RoundedAdamW([{"member": "one", "params": [weight]}], 0, lr=1e-3, fused=True)
    weight.grad = torch.ones(4096)
    optimizer.step()
    optimizer.state[weight]["exp_avg_sq"].fill_(1.0)
    weight.grad = torch.zeros(4096)
    for _ in range(steps):
        optimizer.step()
    return float(optimizer.state[weight]["exp_avg_sq"].float().mean())


def test_the_second_moment_follows_a_gradient_that_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    assert second_moment(500) == pytest.approx(0.999**500, rel=0.01)
    # What rounding to nearest would do, and why it is not done.
    monkeypatch.setattr(rounded, "round_to", lambda moment, values, bits: moment.copy_(values))
    assert second_moment(500) == 1.0


@pytest.mark.parametrize("value", [1.001, -1.001, 3.3e-7, -0.7301, 1e-39])
def test_the_mean_of_what_a_value_is_rounded_to_is_the_value(value: float) -> None:
    count, random = 2**18, torch.Generator().manual_seed(0)
    exact = torch.full((count,), value)
    found = torch.empty(count, dtype=torch.bfloat16)
    round_to(found, exact.clone(), random_bits(count, random))
    below, above = sorted(found.unique().tolist())
    assert below < float(exact[0]) < above
    share = (float(exact[0]) - below) / (above - below)
    error = 5 * (share * (1 - share) / count) ** 0.5  # five standard deviations
    assert (found == above).double().mean().item() == pytest.approx(share, abs=error)


def test_what_bfloat16_holds_is_not_changed() -> None:
    values = torch.tensor([0.0, -0.0, 1.0, -2.5, 3e38, -1e-40, torch.inf, -torch.inf]).bfloat16()
    many = values.repeat(1000)
    found = torch.empty_like(many)
    round_to(found, many.float(), random_bits(len(many), torch.Generator().manual_seed(0)))
    assert torch.equal(found.view(torch.int16), many.view(torch.int16))


def test_random_bits_are_uniform_and_independent_of_their_neighbors() -> None:
    bits = random_bits(2**18 + 3, torch.Generator().manual_seed(0))
    assert bits.shape == (2**18 + 3,)
    ones = torch.stack([(bits.int() >> place & 1).double() for place in range(16)])
    assert (ones.mean(1) - 0.5).abs().max() < 5 * 0.5 / 2**9
    for apart in (1, 2, 3, 4):
        alike = (ones[:, apart:] == ones[:, :-apart]).double().mean(1)
        assert (alike - 0.5).abs().max() < 5 * 0.5 / 2**9


def test_moments_take_half_the_bytes_and_a_step_is_about_torchs() -> None:
    mine, plain = made(), MemberAdamW(groups(), lr=0.1, fused=True)
    learned, expected = train(mine, range(3)), train(plain, range(3))
    sizes = [
        sum(state[key].nbytes for state in one.state.values() for key in ("exp_avg", "exp_avg_sq"))
        for one in (mine, plain)
    ]
    assert 2 * sizes[0] == sizes[1]
    for a, b in zip(learned["one"], expected["one"], strict=True):
        torch.testing.assert_close(a.float(), b, atol=0.02, rtol=0.02)
    assert all(list(state) == ["step", "exp_avg", "exp_avg_sq"] for state in mine.state.values())


def test_what_is_drawn_hangs_on_the_seed_the_member_and_its_step_alone() -> None:
    together, turned = train(made(), range(3)), train(made(("two", "one")), range(3))
    for name in ("one", "two"):
        assert_same(together[name], turned[name])
        assert_same(together[name], train(made((name,)), range(3))[name])
    equals = [torch.equal(a, b) for a, b in zip(together["one"], together["two"], strict=True)]
    assert not all(equals), "members draw numbers of their own"
    other = train(made(seed=1), range(3))
    assert not all(torch.equal(a, b) for a, b in zip(together["one"], other["one"], strict=True))
    spread = made()
    spread.side_by_side = True
    torch.set_num_threads(2)
    try:
        on_threads = train(spread, range(3))
    finally:
        torch.set_num_threads(1)
    for name in ("one", "two"):
        assert_same(together[name], on_threads[name])


def test_a_parameter_is_stepped_piece_by_piece_once(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(made(), range(3))
    monkeypatch.setattr(rounded, "CHUNK_SIZE", 32)
    assert len(list(rounded._chunks([torch.zeros(40, 7)]))) == 9
    for one, other in zip(train(made(), range(3))["one"], whole["one"], strict=True):
        torch.testing.assert_close(one.float(), other.float(), atol=0.02, rtol=0.02)


def test_a_parameter_whose_elements_do_not_lie_in_order_is_stepped_whole() -> None:
    found = made(("one",), shapes=((40, 7),))
    turned = RoundedAdamW(groups(("one",), shapes=((40, 7),)), 0, lr=0.1, fused=True)
    for group in turned.param_groups:
        (parameter,) = group["params"]
        parameter.data = parameter.data.t().contiguous().t()
    for optimizer in (found, turned):
        for group in optimizer.param_groups:
            (parameter,) = group["params"]
            parameter.grad = torch.empty_like(parameter).copy_(torch.linspace(-1, 1, 280).view(40, 7))
        optimizer.step()
    for one, other in zip(found.param_groups, turned.param_groups, strict=True):
        assert not other["params"][0].is_contiguous()
        torch.testing.assert_close(one["params"][0], other["params"][0], atol=0.01, rtol=0)


def test_a_checkpoint_brings_back_every_bit_and_what_is_drawn_next() -> None:
    whole = train(made(), range(4))
    begun, resumed = made(), made()
    train(begun, range(2))
    state = begun.state_dict()
    for group, own in zip(resumed.param_groups, begun.param_groups, strict=True):
        for parameter, learned in zip(group["params"], own["params"], strict=True):
            parameter.data.copy_(learned.data)
    resumed.load_state_dict(state)
    assert {one["exp_avg_sq"].dtype for one in resumed.state.values()} == {torch.bfloat16}
    after = train(resumed, range(2, 4))
    for name in ("one", "two"):
        assert_same(whole[name], after[name])
    assert list(state["state"][0]) == list(resumed.state_dict()["state"][0])
