"""What becomes of members, moments and learning rates after a merge."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.schedules.schedules import EveryEpochs, Never
from mu_lightning.settings import MergeSettings
from tests.conftest import merge_settings

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
KEY = "classifier.dense.weight"
TARGET = "af-ZA"


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_members_train_on_after_a_merge(merged_run: Any) -> None:
    _, before, _ = merged_run(2)
    key = "classifier.dense.weight"
    assert not torch.equal(before.weights[1]["en-US"][key], before.weights[1]["de-DE"][key])
    assert not torch.equal(before.weights[1]["en-US"][key], before.weights[0]["en-US"][key])


def test_a_merge_leaves_the_members_in_training_mode(joint: Any, data_module: Any, trainer: Any) -> None:
    modes: list[bool] = []

    class Modes(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            modes.append(all(module.training for module in pl_module.modules()))

    merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
    trainer(2, merges, Modes()).fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    assert set(modes) == {True}


def each_moment(before: Any, after: Any) -> Any:
    """Name of the moment, what the members had (name -> tensor) and have, for every parameter."""
    for place in range(len(before.moments[0]["en-US"])):
        for key in ("exp_avg", "exp_avg_sq", "step"):
            yield (
                key,
                {name: before.moments[0][name][place][key] for name in WEIGHTS},
                {name: after.moments[0][name][place][key] for name in WEIGHTS},
            )


def test_moments_are_kept(merged_run: Any) -> None:
    _, before, after = merged_run(moments="keep")
    for _, was, became in each_moment(before, after):
        assert all(torch.equal(was[name], became[name]) for name in WEIGHTS)


def test_moments_are_averaged_with_the_merge_weights_and_steps_stay(merged_run: Any) -> None:
    _, before, after = merged_run(moments="average")
    moved = 0
    for key, was, became in each_moment(before, after):
        if key == "step":
            assert all(torch.equal(was[name], became[name]) for name in WEIGHTS)
            continue
        expected = sum(WEIGHTS[name] * was[name].double() for name in WEIGHTS)
        for name in WEIGHTS:
            torch.testing.assert_close(became[name].double(), expected, atol=1e-9, rtol=1e-5)
            moved += not torch.equal(was[name], became[name])
    assert moved


def test_moments_and_steps_are_reset(merged_run: Any) -> None:
    _, before, after = merged_run(moments="reset")
    assert any(bool(was["en-US"].any()) for _, was, _ in each_moment(before, after))
    for _, _, became in each_moment(before, after):
        assert not any(bool(became[name].any()) for name in WEIGHTS)


def test_members_that_are_pulled_move_part_of_the_way(merged_run: Any) -> None:
    merges, before, after = merged_run(sync="pull", pull_keep=0.75)
    assert merges.history[0]["sync"] == "pull"
    for name in WEIGHTS:
        expected = 0.75 * before.weights[0][name][KEY] + 0.25 * merges.merged[KEY]
        torch.testing.assert_close(after.weights[0][name][KEY], expected, atol=1e-7, rtol=1e-5)


def test_a_pull_that_keeps_nothing_is_a_replacement_to_the_bit(merged_run: Any) -> None:
    replaced, _, after = merged_run(2)
    pulled, _, same_after = merged_run(2, sync="pull", pull_keep=0.0)
    assert same(replaced.merged, pulled.merged)
    for name in WEIGHTS:
        assert same(after.weights[1][name], same_after.weights[1][name])


@pytest.mark.parametrize("settings", [{"sync": "none"}, {"follow": "none"}], ids=str)
def test_members_that_keep_their_own_learn_as_if_nothing_was_merged(merged_run: Any, settings: dict[str, str]) -> None:
    merges, _, after = merged_run(2, **settings)
    alone, _, untouched = merged_run(2, schedule=Never())
    assert [record["sync"] for record in merges.history] == ["none", "none"]
    assert all(record["committed"] for record in merges.history)
    assert alone.history == []
    for name in WEIGHTS:
        assert same(after.weights[1][name], untouched.weights[1][name])
    expected = sum(WEIGHTS[name] * after.weights[1][name][KEY] for name in WEIGHTS)
    torch.testing.assert_close(merges.merged[KEY], expected, atol=1e-6, rtol=1e-5)


def test_an_outer_rate_of_one_without_momentum_is_a_replacement_to_the_bit(merged_run: Any) -> None:
    replaced, _, _ = merged_run(2)
    stepped, _, _ = merged_run(2, outer="nesterov", outer_learning_rate=1.0, outer_momentum=0.0)
    assert same(replaced.merged, stepped.merged)


def test_the_outer_optimizer_steps_from_where_the_members_started(merged_run: Any) -> None:
    plain, _, _ = merged_run()
    merges, _, after = merged_run(outer="nesterov", outer_learning_rate=0.7, outer_momentum=0.9)
    gradient = merges.base[KEY] - plain.merged[KEY]
    expected = merges.base[KEY] - 0.7 * 1.9 * gradient  # in the first step the momentum is the gradient itself
    torch.testing.assert_close(merges.merged[KEY], expected, atol=1e-6, rtol=1e-5)
    assert same(after.weights[0]["nl-NL"], merges.merged)
    torch.testing.assert_close(merges.outer.velocity[KEY], gradient, atol=1e-7, rtol=1e-5)
    rolled_back, _, _ = merged_run(outer="nesterov", tolerance=-1.1)
    assert rolled_back.outer.velocity is None
    assert same(rolled_back.outer.anchor, rolled_back.base)


def test_after_a_merge_the_learning_rate_rises_again_to_where_it_would_have_been(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    def rates(**settings: Any) -> list[float]:
        class Rates(Callback):
            def __init__(self) -> None:
                self.seen: list[float] = []

            def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
                self.seen.append(optimizer.param_groups[0]["lr"])

        seen = Rates()
        merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), merge_settings(**settings))
        trainer(2, merges, seen).fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        return seen.seen

    planned, warmed = rates(), rates(learning_rate="rewarm", rewarm=0.5)
    assert len(planned) == 16
    assert warmed[:8] == planned[:8], "nothing has been merged yet"
    assert [one / other for one, other in zip(warmed[8:12], planned[8:12], strict=True)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8]
    )
    assert warmed[12:] == planned[12:]
