"""Members in one pass: when that may be, on which threads, and that the loop's losses come out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from mu_lightning.callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from mu_lightning.callbacks.guard import Guard

from mu_lightning.models.cpu.stacked import StackedMembers
from mu_lightning.models.losses import MemberLoss
from mu_lightning.settings import CheckpointSettings, GuardSettings
from mu_lightning.utilities.errors import UserError

MEMBERS = ["en-US", "nl-NL"]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of members in each stacked pass of a run."""
    found: list[int] = []

    losses = StackedMembers.losses

    def counted(self: StackedMembers, batch: Any, *rest: Any) -> Any:
        found.append(len(batch))
        return losses(self, batch, *rest)

    monkeypatch.setattr(StackedMembers, "losses", counted)
    return found


def test_a_run_is_stacked_unless_it_is_not_wanted(
    joint: Any, data_module: Any, trainer: Any, passes: list[int]
) -> None:
    trainer(1).fit(joint(MEMBERS), datamodule=data_module(MEMBERS))
    assert passes == [2, 2, 2, 1, 1, 1, 1, 1], "the second member has three batches, the first eight"
    passes.clear()
    trainer(1).fit(joint(MEMBERS, execution="loop"), datamodule=data_module(MEMBERS))
    assert passes == []


@pytest.mark.parametrize(
    ("settings", "arguments", "given"),
    [
        ({"gradient_checkpointing": True}, {}, "model.gradient_checkpointing"),
        ({"adapter": "lora"}, {}, "--adapter lora"),
        ({}, {"precision": "64-true"}, "--precision 64-true"),
    ],
    ids=["checkpointing", "adapters", "float64"],
)
def test_what_cannot_be_stacked_is_looped_or_refused_where_it_was_asked_for(
    joint: Any,
    data_module: Any,
    trainer: Any,
    passes: list[int],
    settings: dict[str, Any],
    arguments: dict[str, Any],
    given: str,
) -> None:
    with pytest.raises(UserError, match=f"got {given}.*loop"):
        trainer(1, **arguments).fit(joint(MEMBERS, execution="stacked", **settings), datamodule=data_module(MEMBERS))
    module = joint(MEMBERS, **settings)
    trainer(1, **arguments, limit_train_batches=1).fit(module, datamodule=data_module(MEMBERS))
    assert passes == []
    assert not module.training_pass.stacked


def test_a_model_with_hooks_is_looped(joint: Any, data_module: Any, trainer: Any, passes: list[int]) -> None:
    module, seen = joint(MEMBERS), []
    module.member("nl-NL").model.roberta.register_forward_hook(lambda *_: seen.append(1))
    trainer(1, limit_train_batches=2).fit(module, datamodule=data_module(MEMBERS))
    assert len(seen) == 2
    assert passes == []


def test_members_learn_the_same_on_one_thread_and_on_two(
    joint: Any, data_module: Any, trainer: Any, dropout_base: Any, passes: list[int]
) -> None:
    def learned() -> Any:
        module = joint(MEMBERS, dropout_base)
        trainer(1, max_steps=3, gradient_clip_val=0.5).fit(module, datamodule=data_module(MEMBERS))
        return module.state_dict()

    one = learned()
    torch.set_num_threads(2)
    try:
        two, again = learned(), learned()
    finally:
        torch.set_num_threads(1)
    assert passes == [2] * 9
    for name in one:
        assert torch.equal(two[name], again[name])
        if not name.endswith("self.key.bias"):  # it has no gradient but rounding
            torch.testing.assert_close(one[name], two[name], atol=1e-5, rtol=0)


def test_a_member_that_breaks_down_in_the_pass_is_set_back_and_the_other_loses_nothing(
    joint: Any, data_module: Any, trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_share = MemberLoss.__call__

    def learned(name: str, broken_pass: int) -> tuple[dict[str, Any], Guard]:
        saving = RunCheckpoint(tmp_path / name, {}, CheckpointSettings(keep=0))
        guard, count = Guard(saving, GuardSettings()), iter(range(100))

        def share(self: MemberLoss, member: str, *rest: Any) -> Any:
            broken = member == "en-US" and next(count) == broken_pass
            return whole_share(self, member, *rest) * (float("nan") if broken else 1.0)

        monkeypatch.setattr(MemberLoss, "__call__", share)
        fitting = trainer(
            2, guard, saving, enable_checkpointing=True, plugins=[DurableCheckpointIO()], gradient_clip_val=1.0
        )
        module = joint(MEMBERS, execution="stacked")
        fitting.fit(module, datamodule=data_module(MEMBERS))
        return {name: module.member(name).model.state_dict() for name in MEMBERS}, guard

    (whole, _), (broken, guard) = learned("whole", -1), learned("broken", 9)
    assert guard.setbacks == {"en-US": 1}
    assert all(torch.equal(whole["nl-NL"][key], broken["nl-NL"][key]) for key in whole["nl-NL"])
    assert all(bool(tensor.isfinite().all()) for tensor in broken["en-US"].values())
    key = "classifier.dense.weight"
    assert not torch.equal(whole["en-US"][key], broken["en-US"][key])


@pytest.mark.parametrize("through_autograd", [False, True], ids=["right away", "through autograd"])
def test_gradients_are_those_of_the_share_of_the_loss_that_is_differentiated_and_add_up(
    joint: Any, data_module: Any, through_autograd: bool
) -> None:
    module, data = joint(MEMBERS).train(), data_module(MEMBERS)
    batch = next(iter(data.train_dataloader()))
    stack = StackedMembers({name: module.member(name).model for name in MEMBERS}, through_autograd)

    def gradients(*shares: float) -> dict[str, torch.Tensor]:
        module.zero_grad()
        for share in shares:
            part = {name: {**rows, "share": torch.tensor(share)} for name, rows in batch.items()}
            losses = stack.losses(part, dict.fromkeys(part, 0), module.loss)
            (torch.stack(list(losses.values())).sum() * 0.5).backward()
        return {name: parameter.grad.clone() for name, parameter in module.members.named_parameters()}

    whole, quarter, twice = gradients(2.0), gradients(0.5), gradients(2.0, 0.5)
    assert max(float(one.abs().max()) for one in whole.values()) > 1e-2
    for name in whole:
        torch.testing.assert_close(quarter[name], whole[name] / 4, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(twice[name], whole[name] * 1.25, atol=1e-6, rtol=1e-5)
    loss = sum(module.loss.mean(name, module.member(name)(rows), rows["labels"]) for name, rows in batch.items())
    module.zero_grad()
    loss.backward()
    for name, parameter in module.members.named_parameters():
        torch.testing.assert_close(whole[name], parameter.grad, atol=1e-5, rtol=1e-4)
