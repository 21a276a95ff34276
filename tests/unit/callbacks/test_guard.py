"""Guard: a member that breaks down is set back and the others lose nothing; a full memory costs time alone."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from mu_lightning.callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from mu_lightning.callbacks.guard import Guard
from torch import Tensor

from mu_lightning.models.joint import JointClassifier
from mu_lightning.settings import CheckpointSettings, GuardSettings
from mu_lightning.training.checkpointing.run_checkpoints import saved_checkpoints
from mu_lightning.utilities.errors import UserError

MEMBERS = ("en-US", "de-DE")
STEPS = 16
Hook = Callable[[Trainer, Tensor], Tensor]


class Faults(Callback):
    """Does something to what a member's model gives out in training."""

    def __init__(self, member: str, hook: Hook) -> None:
        self.member, self.hook = member, hook

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, JointClassifier)
        member = pl_module.member(self.member)
        member.register_forward_hook(lambda _, __, out: self.hook(trainer, out) if member.training else out)


def not_finite(*steps: int, value: float = float("nan")) -> Hook:
    return lambda trainer, out: out * value if trainer.global_step in steps else out


class _NoRoomBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        if len(gradient) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return gradient


def no_room_forward(trainer: Trainer, out: Tensor) -> Tensor:
    if len(out) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return out


def no_room_backward(trainer: Trainer, out: Tensor) -> Tensor:
    return _NoRoomBackward.apply(out)


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, tmp_path: Path) -> Callable[..., Any]:
    """Trains two members for two epochs with a guard; gives the module and the guard."""

    def go(
        *faults: Callback, name: str = "run", accumulate: int = 1, moments: str | None = None, **settings: Any
    ) -> Any:
        saving = RunCheckpoint(tmp_path / name, {}, CheckpointSettings(keep=0))
        guard = Guard(saving, GuardSettings(**settings))
        fitting = trainer(
            2,
            *faults,
            guard,
            saving,
            enable_checkpointing=True,
            plugins=[DurableCheckpointIO()],
            gradient_clip_val=1.0,
            accumulate_grad_batches=accumulate,
        )
        # Faults are hooks, and those are called in the loop.
        module = joint(MEMBERS, execution="loop", moments_dtype=moments)
        fitting.fit(module, datamodule=data_module(MEMBERS))
        return module, guard, fitting

    return go


def weights(module: JointClassifier, name: str) -> list[Tensor]:
    return list(module.member(name).state_dict().values())


def equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("hook", [not_finite(10), not_finite(10, value=float("inf"))], ids=["nan", "infinite"])
def test_a_member_that_breaks_down_is_set_back_and_the_others_lose_nothing(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str], hook: Hook
) -> None:
    whole, _, undisturbed = run(name="whole")
    module, guard, fitting = run(Faults("de-DE", hook))
    assert equal(weights(whole, "en-US"), weights(module, "en-US"))
    assert not equal(weights(whole, "de-DE"), weights(module, "de-DE"))
    assert all(torch.isfinite(tensor).all() for tensor in weights(module, "de-DE"))
    assert guard.setbacks == {"de-DE": 1}
    assert "de-DE: loss or gradient not finite in step 11" in (said := capsys.readouterr().out)
    assert "back to step 8, learning rate x 0.5 (1 of 3)" in said
    rates = [
        {group["member"]: group["initial_lr"] for group in one.optimizers[0].param_groups}
        for one in (undisturbed, fitting)
    ]
    assert rates[1] == {"en-US": rates[0]["en-US"], "de-DE": rates[0]["de-DE"] / 2}


@pytest.mark.parametrize("dtype", [None, "bfloat16"])
def test_it_goes_back_to_what_the_last_checkpoint_holds(
    run: Callable[..., Any], tmp_path: Path, dtype: str | None
) -> None:
    class Look(Callback):
        seen: list[bool]

        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 11:
                stored = torch.load(saved_checkpoints(tmp_path / "run")[-1].path, weights_only=True)
                moments = stored["optimizer_states"][0]["state"]
                own = trainer.optimizers[0].state_dict()["state"]
                same = [
                    torch.equal(moments[number][key], own[number][key])
                    for group in trainer.optimizers[0].state_dict()["param_groups"]
                    if group["member"] == "de-DE"
                    for number in group["params"]
                    for key in moments[number]
                ]
                values = [
                    torch.equal(stored["state_dict"][f"members.de-DE.{key}"], tensor)
                    for key, tensor in pl_module.member("de-DE").state_dict().items()
                ]
                Look.seen = [*same, *values]

    run(Faults("de-DE", not_finite(10)), Look(), moments=dtype)
    assert len(Look.seen) > 50
    assert all(Look.seen)


def test_after_so_many_setbacks_the_run_stops_with_a_checkpoint(run: Callable[..., Any], tmp_path: Path) -> None:
    whole, _, _ = run(name="whole")
    with pytest.raises(UserError, match=r"de-DE: .* in step 11 .*, after 2 times .* --guard.retries"):
        run(Faults("de-DE", not_finite(*range(8, STEPS))), retries=2)
    last = saved_checkpoints(tmp_path / "run")[-1]
    assert (last.reason, last.step) == ("fault", 11)
    stored = torch.load(last.path, weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in stored["state_dict"].values())
    assert stored["callbacks"]["Guard"] == {"setbacks": {"de-DE": 2}}
    assert whole is not None


def test_without_the_guard_a_member_is_lost(run: Callable[..., Any]) -> None:
    module, _, _ = run(Faults("de-DE", not_finite(10)), non_finite=False)
    assert any(torch.isnan(tensor).any() for tensor in weights(module, "de-DE"))


@pytest.mark.parametrize("hook", [no_room_forward, no_room_backward])
def test_where_memory_does_not_suffice_the_same_gradients_come_from_smaller_pieces(
    run: Callable[..., Any], capsys: pytest.CaptureFixture[str], hook: Hook
) -> None:
    whole, _, _ = run(name="whole")
    module, _, fitting = run(Faults("de-DE", hook))
    assert module.micro_batches.parts == 4
    assert fitting.global_step == STEPS
    for key, tensor in whole.state_dict().items():
        if "key.bias" not in key:  # the softmax is blind to it: its gradient is rounding alone, which AdamW blows up
            torch.testing.assert_close(tensor, module.state_dict()[key], atol=1e-4, rtol=1e-3)
    said = capsys.readouterr().out
    assert "micro-batches of 4 utterances from now on, 2 per batch" in said
    assert "micro-batches of 2 utterances from now on, 4 per batch" in said


def test_a_full_memory_stops_the_run_with_what_to_set_where_pieces_cannot_help(run: Callable[..., Any]) -> None:
    def never(trainer: Trainer, out: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match=r"micro-batches of one utterance.*--batch-size"):
        run(Faults("de-DE", never), name="never")
    with pytest.raises(UserError, match=r"out of memory \(CUDA.*--batch-size"):
        run(Faults("de-DE", no_room_forward), name="off", out_of_memory=False)
