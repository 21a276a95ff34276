"""Moments in bfloat16 change how exactly members learn, and nothing that they hang on: neighbors, turns, resuming."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch import Callback
from mu_lightning.callbacks.checkpoint import DurableCheckpointIO, RunCheckpoint
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.schedules.schedules import EveryEpochs
from mu_lightning.settings import CheckpointSettings, MergeSettings
from mu_lightning.training.checkpointing.run_checkpoints import Saved, saved_checkpoints

MEMBERS = {"en-US": 0.5, "nl-NL": 0.3, "de-DE": 0.2}
MOMENTS = ("exp_avg", "exp_avg_sq")


class Run(NamedTuple):
    """What a run leaves: each member's weights and moments, and the mean loss of its first and its last steps."""

    learned: dict[str, list[Tensor]]
    checkpoints: list[Saved]
    losses: tuple[float, float]


class Losses(Callback):
    """Keeps the mean loss of each step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self.seen.append(torch.stack(list(pl_module.losses.values())).mean().item())


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, dropout_base: Path, tmp_path: Path) -> Callable[..., Run]:
    """Trains with moments in bfloat16, saving at every step; merges if it is told how."""

    def go(
        names: tuple[str, ...] = tuple(MEMBERS),
        merging: MergeSettings | None = None,
        resumed_from: Saved | None = None,
        epochs: int = 3,
        name: str = "run",
        dtype: str | None = "bfloat16",
        **settings: Any,
    ) -> Run:
        losses = Losses()
        saving = RunCheckpoint(tmp_path / name, {}, CheckpointSettings(before_merge=True, every_n_steps=1, keep=0))
        callbacks: list[Callback] = [losses]
        if merging is not None:
            callbacks.append(MergeCallback("af-ZA", MEMBERS, EveryEpochs(2), merging))
        fitting = trainer(epochs, *callbacks, saving, enable_checkpointing=True, plugins=[DurableCheckpointIO()])
        module = joint(names, dropout_base, moments_dtype=dtype, **settings)
        path = resumed_from.path if resumed_from else None
        fitting.fit(module, datamodule=data_module(names), ckpt_path=path, weights_only=True)
        learned: dict[str, list[Tensor]] = {member: [] for member in names}
        for member in names:
            for parameter in module.member(member).parameters():
                learned[member] += [parameter.detach(), *fitting.optimizers[0].state[parameter].values()]
        ends = tuple(sum(part) / len(part) for part in (losses.seen[:4], losses.seen[-4:]))
        return Run(learned, saved_checkpoints(tmp_path / name), ends)  # type: ignore[arg-type]

    return go


def assert_same(one: dict[str, list[Tensor]], other: dict[str, list[Tensor]]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        for mine, its in zip(one[name], other[name], strict=True):
            assert mine.dtype == its.dtype
            assert torch.equal(mine, its), name


def test_a_member_learns_beside_others_and_in_turns_what_it_learns_alone(run: Callable[..., Run]) -> None:
    together = run(name="together").learned
    assert torch.bfloat16 in {tensor.dtype for tensor in together["nl-NL"]}
    assert_same(together, run(tuple(MEMBERS)[::-1], name="reversed").learned)
    assert_same(together, run(name="in turns", members_in_memory=1).learned)
    for member in MEMBERS:
        assert_same({member: together[member]}, run((member,), name=f"{member} alone").learned)


@pytest.mark.parametrize("moments", ["average", "keep", "reset"])
def test_merges_keep_the_dtype_and_from_any_checkpoint_a_run_ends_as_the_undisturbed_one(
    run: Callable[..., Run], moments: Any
) -> None:
    merging = MergeSettings(moments=moments)
    whole = run(merging=merging, name="whole")
    for member in MEMBERS:
        dtypes = {tensor.dtype for tensor in whole.learned[member] if tensor.ndim}
        assert dtypes == {torch.float32, torch.bfloat16}
    (before,) = [saved for saved in whole.checkpoints if saved.reason == "before merge"][:1]
    after = [saved for saved in whole.checkpoints if saved.reason == "interval" and saved.step >= before.step][:2]
    for saved in (whole.checkpoints[3], before, *after):
        resumed = run(merging=merging, resumed_from=saved, name=f"from {saved.path.stem}")
        assert_same(whole.learned, resumed.learned)


def test_a_checkpoint_holds_moments_of_half_the_bytes(run: Callable[..., Run]) -> None:
    sizes = []
    for dtype in (None, "bfloat16"):
        stored = torch.load(run(dtype=dtype, name=str(dtype)).checkpoints[-1].path, weights_only=True)
        state = stored["optimizer_states"][0]["state"]
        sizes.append(sum(one[key].nbytes for one in state.values() for key in MOMENTS))
    assert sizes[0] == 2 * sizes[1] > 0


def test_the_loss_falls_to_about_what_it_is_with_moments_in_float32(run: Callable[..., Run]) -> None:
    (begun, exact), (also, rounded) = (
        run(dtype=dtype, epochs=8, name=str(dtype)).losses for dtype in (None, "bfloat16")
    )
    assert begun == pytest.approx(also, rel=0.02)
    assert exact < 0.7 * begun
    assert rounded == pytest.approx(exact, rel=0.01)
