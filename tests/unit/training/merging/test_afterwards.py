"""What members and their optimizer become after a merge, against the papers' formulas and torch's own optimizer."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mu_lightning.training.merging.afterwards import (
    OuterState,
    mean_state,
    mean_weights,
    outer_step,
    pulled,
    settle_moments,
    weighted_mean,
)
from mu_lightning.training.merging.reweighting import reweighted


def state(seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(5, 3, generator=random),
        "half": torch.randn(4, generator=random).bfloat16(),
        "positions": torch.arange(6),
    }


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype
        assert torch.equal(one[name], other[name]), name


def test_a_pull_that_keeps_nothing_is_a_replacement_and_one_that_keeps_all_is_none() -> None:
    assert_same(pulled(state(1), state(2), 0.0), state(2))
    assert_same(pulled(state(1), state(2), 1.0), state(1))


def test_a_pull_moves_towards_the_merged_model() -> None:
    own, merged = state(1), state(2)
    found = pulled(own, merged, 0.9)
    torch.testing.assert_close(found["matrix"], 0.9 * own["matrix"] + 0.1 * merged["matrix"])
    assert_same(own, state(1))


def test_the_mean_of_equal_states_is_each_of_them_to_the_bit() -> None:
    assert_same(mean_state([state(1)] * 3), state(1))
    expected = (state(1)["matrix"] + state(2)["matrix"] + state(3)["matrix"]) / 3
    torch.testing.assert_close(mean_state([state(1), state(2), state(3)])["matrix"], expected)


def test_an_outer_rate_of_one_without_momentum_is_a_plain_merge_to_the_bit() -> None:
    carried = OuterState(state(0))
    for seed in (1, 2):
        new, carried = outer_step(carried, state(seed), 1.0, 0.0)
        assert_same(new, state(seed))
        assert_same(carried.anchor, state(seed))


@pytest.mark.parametrize(("rate", "momentum"), [(0.7, 0.9), (0.5, 0.0), (1.0, 0.5)])
def test_the_outer_step_is_torchs_nesterov_on_the_pseudo_gradient(rate: float, momentum: float) -> None:
    parameter = torch.nn.Parameter(state(0)["matrix"].clone())
    reference = torch.optim.SGD([parameter], lr=rate, momentum=momentum, nesterov=momentum > 0)
    carried = OuterState({"matrix": state(0)["matrix"]})
    for seed in (1, 2, 3):
        merged = {"matrix": parameter.detach() + 0.1 * state(seed)["matrix"]}  # where the members got to from there
        parameter.grad = parameter.detach() - merged["matrix"]
        new, carried = outer_step(carried, merged, rate, momentum)
        reference.step()
        torch.testing.assert_close(new["matrix"], parameter.detach(), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(carried.anchor["matrix"], parameter.detach(), atol=1e-6, rtol=1e-5)


def test_members_that_did_not_move_stay_while_momentum_carries_them_on() -> None:
    new, carried = outer_step(OuterState(state(0)), state(0), 0.7, 0.9)
    assert_same(new, state(0))
    moved, carried = outer_step(OuterState(state(0)), state(1), 0.7, 0.9)
    further, _ = outer_step(carried, moved, 0.7, 0.9)
    assert not torch.equal(further["matrix"], moved["matrix"])


def adamw(seed: int) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    return {
        "step": torch.tensor(float(10 + seed)),
        "exp_avg": torch.randn(4, 3, generator=random),
        "exp_avg_sq": torch.rand(4, 3, generator=random),
    }


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3), (0.1, 0.0, 0.9)])
def test_averaging_the_moments_of_equals_changes_no_bit(weights: tuple[float, ...]) -> None:
    states = [adamw(1) for _ in weights]
    settle_moments(states, weights, "average")
    for one in states:
        assert all(torch.equal(one[key], value) for key, value in adamw(1).items())


def test_moments_are_averaged_in_place_and_steps_stay() -> None:
    states = [adamw(1), adamw(2)]
    held = [one["exp_avg"] for one in states]
    settle_moments(states, (0.75, 0.25), "average")
    for key in ("exp_avg", "exp_avg_sq"):
        expected = 0.75 * adamw(1)[key] + 0.25 * adamw(2)[key]
        for one in states:
            torch.testing.assert_close(one[key], expected)
    assert [float(one["step"]) for one in states] == [11, 12]
    assert all(one["exp_avg"] is tensor for one, tensor in zip(states, held, strict=True))


def test_moments_are_kept_or_reset_with_their_steps() -> None:
    states = [adamw(1), adamw(2)]
    settle_moments(states, (0.75, 0.25), "keep")
    assert all(torch.equal(states[1][key], value) for key, value in adamw(2).items())
    settle_moments(states, (0.75, 0.25), "reset")
    assert not any(bool(value.any()) for one in states for value in one.values())


def test_nothing_is_done_where_a_member_has_no_moments_yet() -> None:
    states: list[dict[str, Any]] = [adamw(1), {}]
    settle_moments(states, (0.5, 0.5), "reset")
    assert all(torch.equal(states[0][key], value) for key, value in adamw(1).items())


def test_weights_of_several_targets_are_averaged_by_member() -> None:
    found = mean_weights([{"a": 0.5, "b": 0.5}, {"b": 0.2, "c": 0.8}], ["a", "b", "c"])
    assert found == pytest.approx([0.25, 0.35, 0.4])
    tensors = [torch.full((2,), value) for value in (1.0, 2.0, 4.0)]
    torch.testing.assert_close(weighted_mean(tensors, found), torch.full((2,), 2.55))


WEIGHTS = {"a": 0.6, "b": 0.4}


def test_weights_stay_as_they_are_unless_they_are_to_be_re_read() -> None:
    assert reweighted("none", WEIGHTS, {"a": 0.1, "b": 0.9}, {"a": 1, "b": 1}) == WEIGHTS


def test_weights_are_re_read_from_the_targets_dev_scores() -> None:
    scores = {"a": 0.2, "b": 0.6, "ensemble": 0.9}
    assert reweighted("target-dev", WEIGHTS, scores, {}) == pytest.approx({"a": 0.25, "b": 0.75})
    assert reweighted("target-dev", WEIGHTS, scores, {}, 0.5) == pytest.approx({"a": 0.1, "b": 0.9})
    assert reweighted("target-dev", WEIGHTS, scores, {}, 1e6) == pytest.approx({"a": 0.5, "b": 0.5}, abs=1e-5)


def test_weights_are_typologys_times_the_members_own_dev_scores() -> None:
    found = reweighted("source-dev", WEIGHTS, {}, {"a": 0.4, "b": 0.8})
    assert found == pytest.approx({"a": 0.24 / 0.56, "b": 0.32 / 0.56})


@pytest.mark.parametrize("how", ["target-dev", "source-dev"])
def test_scores_of_nothing_leave_typologys_weights_and_any_weights_sum_to_one(how: Any) -> None:
    assert reweighted(how, WEIGHTS, {"a": 0, "b": 0}, {"a": 0, "b": 0}) == WEIGHTS
    tiny = reweighted(how, WEIGHTS, {"a": 1e-3, "b": 2e-3}, {"a": 1e-3, "b": 2e-3}, 0.01)
    assert math.fsum(tiny.values()) == pytest.approx(1, abs=1e-12)
    assert tiny["b"] > 0.999
