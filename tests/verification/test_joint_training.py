"""Members trained side by side learn what each learns alone; a merge of equals changes nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.data.batching import BatchSize, TrainSampler, eval_loader, train_loader
from mu_lightning.models.joint import JointClassifier
from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import MergeSettings

MEMBERS = ("en-US", "de-DE", "nl-NL")
Weights = dict[str, dict[str, Tensor]]


@pytest.fixture
def train(joint: Any, data_module: Any, trainer: Any) -> Callable[..., Weights]:
    """Trains members and gives the weights of each: ``train(names, base=None, **trainer_arguments)``."""

    def run(names: Sequence[str], base: Path | None = None, **arguments: Any) -> Weights:
        module = joint(names, base)
        trainer(2, **arguments).fit(module, datamodule=data_module(names))
        return {name: module.member(name).model.state_dict() for name in names}

    return run


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="plain"),
        pytest.param({"gradient_clip_val": 0.05}, id="clipped by norm"),
        pytest.param({"gradient_clip_val": 1e-4, "gradient_clip_algorithm": "value"}, id="clipped by value"),
        pytest.param({"accumulate_grad_batches": 2}, id="accumulated"),
        pytest.param({"accumulate_grad_batches": 3, "gradient_clip_val": 0.05}, id="accumulated and clipped"),
    ],
)
def test_members_of_uneven_sizes_learn_side_by_side_what_each_learns_alone(
    train: Callable[..., Weights], dropout_base: Path, arguments: dict[str, Any]
) -> None:
    together = train(MEMBERS, dropout_base, **arguments)
    for name in MEMBERS:
        assert_same(together[name], train([name], dropout_base, **arguments)[name])


@pytest.mark.parametrize("at_once", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"max_epochs": 3}, id="plain"),
        pytest.param({"max_epochs": 2, "accumulate_grad_batches": 3, "gradient_clip_val": 0.05}, id="accumulated"),
        pytest.param({"max_epochs": -1, "max_steps": 13}, id="a limit of steps"),
    ],
)
def test_members_that_take_turns_on_the_device_learn_and_merge_as_if_all_were_there(
    joint: Any, data_module: Any, trainer: Any, dropout_base: Path, at_once: int, arguments: dict[str, Any]
) -> None:
    def run(at_once: int) -> tuple[Weights, MergeCallback, Any]:
        module, merges = joint(MEMBERS, dropout_base, members_in_memory=at_once), merging(frequency=2)
        fitting = trainer(arguments["max_epochs"], merges, **{k: v for k, v in arguments.items() if k != "max_epochs"})
        fitting.fit(module, datamodule=data_module(MEMBERS))
        return {name: module.member(name).model.state_dict() for name in MEMBERS}, merges, fitting

    (together, merges, fitting), (in_turns, also, turned) = run(0), run(at_once)
    for name in MEMBERS:
        assert_same(together[name], in_turns[name])
    assert [record["targets"]["af-ZA"]["after"] for record in merges.history] == [
        record["targets"]["af-ZA"]["after"] for record in also.history
    ]
    assert len(merges.history) == (2 if arguments["max_epochs"] == 3 else 1)
    assert turned.current_epoch == fitting.current_epoch
    assert turned.global_step > fitting.global_step
    for one, other in zip(fitting.optimizers[0].state.values(), turned.optimizers[0].state.values(), strict=True):
        assert torch.equal(one["exp_avg_sq"], other["exp_avg_sq"])
        assert one["step"] == other["step"]


def test_without_dropout_too_and_in_any_order(train: Callable[..., Weights]) -> None:
    together, reversed_ = train(MEMBERS), train(MEMBERS[::-1])
    for name in MEMBERS:
        assert_same(together[name], reversed_[name])
        assert_same(together[name], train([name])[name])


def test_what_the_comparison_rests_on_members_learn_and_differ_and_clipping_and_dropout_tell(
    train: Callable[..., Weights], joint: Any, dropout_base: Path
) -> None:
    start = joint(MEMBERS).member("en-US").model.state_dict()
    plain = train(MEMBERS)
    key = "classifier.dense.weight"
    assert not torch.equal(plain["en-US"][key], start[key])
    assert not torch.equal(plain["en-US"][key], plain["de-DE"][key])
    for other in (
        train(MEMBERS, dropout_base),
        train(MEMBERS, gradient_clip_val=0.05),
        train(MEMBERS, accumulate_grad_batches=2),
    ):
        assert not torch.equal(plain["en-US"][key], other["en-US"][key])


def test_a_member_of_several_locales_learns_the_same_beside_another(joint: Any, data_module: Any, trainer: Any) -> None:
    def learned(members: dict[str, tuple[str, ...]]) -> dict[str, Tensor]:
        module = joint(list(members))
        trainer(1).fit(module, datamodule=data_module(members))
        return module.member("west").model.state_dict()

    west = ("de-DE", "nl-NL")
    assert_same(learned({"west": west}), learned({"en-US": ("en-US",), "west": west}))


def merging(**settings: Any) -> MergeCallback:
    weights = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
    return MergeCallback("af-ZA", weights, EveryEpochs(settings.pop("frequency", 1)), MergeSettings(**settings))


def test_after_a_committed_merge_all_members_are_equal_and_are_the_merged_model(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    module, merges = joint(MEMBERS), merging()
    trainer(2, merges).fit(module, datamodule=data_module(MEMBERS))
    assert merges.merged is not None
    for name in MEMBERS:
        assert_same(module.member(name).model.state_dict(), merges.merged)


def test_merging_equal_members_changes_no_bit(
    joint: Any, data_module: Any, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is learned at a rate of 0, so the members are still equal when they are merged.
    monkeypatch.setattr(JointClassifier, "learning_rate", 0.0)
    module, merges = joint(MEMBERS), merging()
    start = {name: tensor.clone() for name, tensor in module.member("en-US").model.state_dict().items()}
    trainer(1, merges).fit(module, datamodule=data_module(MEMBERS))
    assert merges.history[0]["committed"]
    assert merges.merged is not None
    assert_same(merges.merged, start)
    for name in MEMBERS:
        assert_same(module.member(name).model.state_dict(), start)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("epoch", [0, 1])
def test_devices_share_the_batches_of_one_process_without_overlap(world_size: int, epoch: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 30, size=8 * 60 + 1)  # more than a stretch, and a last batch of 1
    single = TrainSampler(lengths, BatchSize(8), 5, "en-US")
    ranks = [TrainSampler(lengths, BatchSize(8), 5, "en-US", rank, world_size) for rank in range(world_size)]
    for sampler in (single, *ranks):
        sampler.set_epoch(epoch)
    seen: list[int] = []
    for whole, *shares in zip(single, *ranks, strict=True):
        held = [row for share in shares for row in share.rows if share.share > 0]
        assert sorted(held) == sorted(whole.rows)
        seen += held
        assert all(share.rows for share in shares), "every device must have something to step on"
    assert sorted(seen) == list(range(len(lengths)))
    assert len(single) == len(ranks[0]) == 61


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_the_mean_of_the_devices_shared_losses_is_the_mean_over_the_whole_batch(
    world_size: int, data_module: Any
) -> None:
    rows = data_module().encoded("nl-NL", "train")  # 21 rows: batches of 10, 10 and 1
    loss_of_row = torch.linspace(0.1, 4, len(rows), dtype=torch.float64)
    ranks = [train_loader(rows, BatchSize(10), 0, "nl-NL", rank, world_size) for rank in range(world_size)]
    sizes = []
    for whole, *parts in zip(train_loader(rows, BatchSize(10), 0, "nl-NL"), *ranks, strict=True):
        means = [loss_of_row[part["index"]].mean() * part["share"] for part in parts]
        assert torch.stack(means).mean().item() == pytest.approx(loss_of_row[whole["index"]].mean().item(), rel=1e-7)
        sizes.append(len(whole["index"]))
    assert sorted(sizes) == [1, 10, 10], "a last batch with fewer rows than devices is what this is about"


@pytest.mark.parametrize("world_size", [3, 4])
def test_the_mean_of_the_devices_gradients_is_the_gradient_of_the_whole_batch(
    world_size: int, joint: Any, data_module: Any
) -> None:
    rows = data_module().encoded("nl-NL", "train")
    module = joint(["nl-NL"])
    ranks = [train_loader(rows, BatchSize(10), 0, "nl-NL", rank, world_size) for rank in range(world_size)]
    compared = 0
    for whole, *parts in zip(train_loader(rows, BatchSize(10), 0, "nl-NL"), *ranks, strict=True):
        gradients = []
        for batch in (whole, *parts):
            module.zero_grad()
            module.step_losses({"nl-NL": batch}, 0)["nl-NL"].backward()
            gradients.append(torch.cat([parameter.grad.flatten() for parameter in module.parameters()]))
        torch.testing.assert_close(torch.stack(gradients[1:]).mean(dim=0), gradients[0], atol=1e-5, rtol=1e-3)
        compared += len({float(part["share"]) for part in parts}) > 1
    assert compared, "all devices held equally many rows: their shares were not needed"


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_evaluation_reads_each_row_once_whatever_the_number_of_devices(world_size: int, data_module: Any) -> None:
    rows = data_module().encoded("en-US", "dev")
    seen = [
        int(index)
        for rank in range(world_size)
        for batch in eval_loader(rows, 16, rank, world_size)
        for index in batch["index"]
    ]
    assert sorted(seen) == list(range(45))


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({}, id="plain"),
        pytest.param({"gradient_clip_val": 0.05}, id="clipped by norm"),
        pytest.param({"accumulate_grad_batches": 2, "gradient_clip_val": 0.05}, id="accumulated and clipped"),
    ],
)
def test_stacked_members_learn_and_merge_as_in_a_loop(
    joint: Any, data_module: Any, trainer: Any, arguments: dict[str, Any]
) -> None:
    """Of uneven sizes, so each has learning rates of its own; with merges in place after each epoch."""

    def run(execution: str) -> tuple[Weights, MergeCallback, list[dict[str, float]]]:
        module, merges, losses = joint(MEMBERS, execution=execution), merging(), []

        class Losses(Callback):
            def on_train_batch_end(self, *_: Any) -> None:
                losses.append({name: float(loss) for name, loss in module.losses.items()})

        trainer(2, merges, Losses(), **arguments).fit(module, datamodule=data_module(MEMBERS))
        assert module.training_pass.stacked == (execution == "stacked")
        return {name: module.member(name).model.state_dict() for name in MEMBERS}, merges, losses

    (looped, merges, losses), (stacked, also, as_stacked) = run("loop"), run("stacked")
    assert [sorted(step) for step in losses] == [sorted(step) for step in as_stacked]
    assert len(losses) == 16
    assert sorted(losses[0]) == sorted(MEMBERS)
    assert list(losses[7]) == ["en-US"]
    for step, other in zip(losses, as_stacked, strict=True):
        assert other == pytest.approx(step, abs=1e-5)
    assert [record["committed"] for record in merges.history] == [record["committed"] for record in also.history]
    for name in MEMBERS:
        for key in looped[name]:
            if not key.endswith("self.key.bias"):  # it has no gradient but rounding
                torch.testing.assert_close(stacked[name][key], looped[name][key], atol=1e-5, rtol=0)
    assert not torch.equal(stacked["en-US"]["classifier.dense.weight"], looped["en-US"]["classifier.dense.weight"])
