"""When MergeCallback merges: as the schedule says, and once more as training ends, however that comes."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.evaluation.loop import evaluate
from mu_lightning.schedules.schedules import Adaptive, AtEnd, EveryEpochs, EverySteps
from mu_lightning.settings import MergeSettings

TARGET = "af-ZA"
WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_merges_come_when_the_schedule_says_so_and_are_numbered(merged_run: Any) -> None:
    merges, _, _ = merged_run(5, 2)
    assert [(record["index"], record["epoch"], record["reason"]) for record in merges.history] == [
        (1, 2, "every 2 epochs"),
        (2, 4, "every 2 epochs"),
        (3, 5, "end of training"),
    ]
    assert [record["step"] for record in merges.history] == [16, 32, 40]


@pytest.mark.parametrize(
    ("epochs", "limits", "merged"),
    [
        pytest.param(5, {}, [5], id="by epochs"),
        pytest.param(5, {"max_steps": 20}, [3], id="by steps, in the middle of an epoch"),
        pytest.param(-1, {"max_steps": 16}, [2], id="by steps, at an epoch's end"),
        pytest.param(5, {"stop": 2}, [2], id="by a callback"),
        pytest.param(5, {"stop": 2, "min_epochs": 4}, [4], id="by a callback, but not before the least epochs"),
    ],
)
def test_the_end_of_training_is_merged_however_it_comes(
    joint: Any, data_module: Any, trainer: Any, epochs: int, limits: dict[str, int], merged: list[int]
) -> None:
    class Stop(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop |= trainer.current_epoch + 1 == stop

    stop = limits.pop("stop", None)
    merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(0), MergeSettings())
    trainer(epochs, Stop(), merges, **limits).fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    assert [(record["epoch"], record["reason"]) for record in merges.history] == [(merged[0], "end of training")]


def test_merging_leaves_the_count_of_epochs_alone(joint: Any, data_module: Any, trainer: Any) -> None:
    class Epochs(Callback):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.seen.append(trainer.current_epoch)

    merges, epochs = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings()), Epochs()
    fitting = trainer(3, merges, epochs)
    fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    assert epochs.seen == [0, 1, 2]
    assert fitting.current_epoch == 3


def test_nothing_is_merged_or_scored_in_the_sanity_check(joint: Any, data_module: Any, trainer: Any) -> None:
    merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
    seen: list[int] = []

    class AtStart(Callback):
        def on_sanity_check_end(self, trainer: Any, pl_module: Any) -> None:
            seen.append(len(merges.history))

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            seen.append(len(merges.history))

    fitting = trainer(1, merges, AtStart(), num_sanity_val_steps=2, limit_val_batches=1.0)
    fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    assert seen == [0, 0]
    assert len(merges.history) == 1


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_schedule_by_steps_merges_in_an_epoch_after_the_optimizer_has_stepped(
    joint: Any, data_module: Any, trainer: Any, accumulate: int
) -> None:
    merges = MergeCallback(TARGET, WEIGHTS, EverySteps(2), MergeSettings())
    equal: list[bool] = []
    scores: list[float] = []

    class After(Callback):
        def look(self, trainer: Any, pl_module: Any) -> None:
            states = [pl_module.member(name).merge_state() for name in WEIGHTS]
            equal.append(same(states[0], states[1]) and same(states[0], states[2]))
            if equal[-1]:
                loaders = trainer.datamodule.eval_loaders("dev", [TARGET])
                scores.append(evaluate(pl_module.member("nl-NL"), loaders)[TARGET].accuracy)

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx and batch_idx % accumulate == 0:
                self.look(trainer, pl_module)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.look(trainer, pl_module)

    fitting = trainer(2, merges, After(), accumulate_grad_batches=accumulate)
    fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    in_epoch = -(-8 // accumulate)  # 61 rows in batches of 8
    assert fitting.global_step == 2 * in_epoch
    assert [record["step"] for record in merges.history] == list(range(2, 2 * in_epoch + 1, 2))
    assert [record["epoch"] for record in merges.history] == [
        1 + (record["step"] > in_epoch) for record in merges.history
    ]
    assert {record["reason"] for record in merges.history} == {"every 2 steps"}
    assert sum(equal) == len(merges.history), "members are equal right after a merge, and only then"
    assert scores == [record["targets"][TARGET]["after"] for record in merges.history]
    assert [found["step"] for found in merges.epochs] == [in_epoch, 2 * in_epoch]


def test_each_epochs_scores_are_kept_whether_or_not_there_is_a_merge(merged_run: Any) -> None:
    merges, before, _ = merged_run(3, schedule=AtEnd())
    assert [found["epoch"] for found in merges.epochs] == [1, 2, 3]
    for found, was in zip(merges.epochs, before.scores, strict=True):
        assert found["target"] == was
        assert found["mean"] == pytest.approx(sum(was[name] for name in WEIGHTS) / 3)
        assert set(found["members"]) == set(WEIGHTS)
        assert found["drift"] > 0
    assert merges.history[0]["targets"][TARGET]["before"] == merges.epochs[-1]["target"]
    quiet, _, _ = merged_run(3, schedule=AtEnd(), score_epochs=False)
    assert quiet.epochs == []
    assert quiet.history[0]["targets"] == merges.history[0]["targets"]


def test_what_validation_has_scored_is_not_scored_again(joint: Any, data_module: Any, trainer: Any) -> None:
    found = {}
    for limit in (0, 1.0):
        merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
        fitting = trainer(1, merges, limit_val_batches=limit)
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        found[limit] = merges.epochs
        assert (merges._validated is not None) == bool(limit)
    assert found[0] == found[1.0]


def test_the_records_schedule_says_what_the_merge_changed(merged_run: Any) -> None:
    merges, _, _ = merged_run(3, schedule=Adaptive(start=1), tolerance=-1.1)
    assert [record["epoch"] for record in merges.history] == [1, 3]
    first, second = (record["schedule"] for record in merges.history)
    assert (first["interval"], second["interval"]) == (2, 3)
    assert first["why"].startswith("merge 1 was rolled back")
    assert merges.history[1]["reason"] == f"every 2 epochs at present ({first['why']})"
    assert merges.state_dict()["schedule"] == second
