"""One seed, one result: run twice, resumed, or seen by a trainer that has drawn other random numbers before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.schedules.parsing import schedule_of
from mu_lightning.settings import MergeSettings

MEMBERS = {"en-US": 0.5, "nl-NL": 0.3, "de-DE": 0.2}
EPOCHS = 4


class Run(NamedTuple):
    """What a run leaves: the members' weights and optimizer state, the merged model, the merges' records."""

    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    merges: MergeCallback


@pytest.fixture
def run(joint: Any, data_module: Any, trainer: Any, dropout_base: Path, tmp_path: Path) -> Callable[..., Run]:
    """Trains and merges every second epoch, keeping a checkpoint of each epoch; goes on from one if it is given."""

    def go(seed: int = 0, resumed_from: Path | None = None, name: str = "run", **settings: Any) -> Run:
        module = joint(list(MEMBERS), dropout_base, seed)
        merging = MergeSettings(**{"frequency": 2, **settings})
        merges = MergeCallback("af-ZA", MEMBERS, schedule_of(merging), merging, seed)
        saving = ModelCheckpoint(tmp_path / name, "{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        fitting = trainer(EPOCHS, merges, saving, enable_checkpointing=True, accumulate_grad_batches=2)
        fitting.fit(
            module,
            datamodule=data_module(list(MEMBERS), seed),
            ckpt_path=str(resumed_from) if resumed_from else None,
            weights_only=True,
        )
        return Run(module.state_dict(), fitting.optimizers[0].state_dict(), merges)

    return go


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal to the bit, through nested mappings and lists."""
    if isinstance(one, Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}/{place}")
    else:
        assert one == other, where


def history(run: Run) -> list[dict[str, Any]]:
    """The merges' records but for the time that they took."""
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.merges.history]


def assert_same_runs(one: Run, other: Run) -> None:
    assert_same(one.weights, other.weights)
    assert_same(one.optimizer, other.optimizer)
    for state in (run.merges.state_dict() for run in (one, other)):
        assert state["pending"] is None
    assert_same(one.merges.merged, other.merges.merged)
    assert one.merges.epochs == other.merges.epochs
    if one.merges.outer:
        assert other.merges.outer
        assert_same(one.merges.outer.state_dict(), other.merges.outer.state_dict())
    assert history(one) == history(other)


def test_two_runs_of_one_seed_are_equal_whatever_was_drawn_before(run: Callable[..., Run]) -> None:
    torch.manual_seed(1)
    one = run(name="one")
    torch.manual_seed(2)
    torch.rand(5)
    assert_same_runs(one, run(name="other"))
    assert len(one.merges.history) == 2


def test_another_seed_gives_another_result(run: Callable[..., Run]) -> None:
    one, other = run(0, name="one"), run(1, name="other")
    different = [name for name in one.weights if not torch.equal(one.weights[name], other.weights[name])]
    assert different == list(one.weights)


@pytest.mark.parametrize("after", [1, 2, 3], ids=["before the first merge", "at a merge", "between merges"])
@pytest.mark.parametrize(
    "settings",
    [
        {"moments": "average"},
        {"moments": "reset", "learning_rate": "rewarm", "rewarm": 1.5},
        {"outer": "nesterov", "schedule": "adaptive:start=2"},
    ],
    ids=["averaged", "reset and re-warmed", "outer and adaptive"],
)
def test_a_run_resumed_after_an_epoch_ends_as_the_undisturbed_one(
    run: Callable[..., Run], tmp_path: Path, after: int, settings: dict[str, Any]
) -> None:
    whole = run(name="whole", **settings)
    resumed = run(resumed_from=tmp_path / "whole" / f"epoch={after - 1}.ckpt", name="resumed", **settings)
    assert_same_runs(whole, resumed)
    assert [record["index"] for record in resumed.merges.history][:2] == [1, 2]
    # What it went on from was not the end already.
    stored = torch.load(tmp_path / "whole" / f"epoch={after - 1}.ckpt", weights_only=True)["state_dict"]
    assert not torch.equal(stored["members.en-US.model.classifier.dense.weight"], _dense(whole))


def _dense(run: Run) -> Tensor:
    return run.weights["members.en-US.model.classifier.dense.weight"]
