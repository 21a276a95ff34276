"""MergeCallback: scores, merges, scores again, commits or rolls back, and tells it all in plain values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from callbacks.merge import MergeCallback
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.schedules import EveryEpochs
from mu_lightning.settings import MergeSettings

TARGET = "af-ZA"
WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}


class Witness(Callback):
    """Copies the members' weights and the optimiser's state around the merges: stand it on both sides of them."""

    def __init__(self) -> None:
        self.weights: list[dict[str, dict[str, Tensor]]] = []
        self.moments: list[dict[str, list[dict[str, Tensor]]]] = []
        self.scores: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        state = trainer.optimizers[0].state
        members = {name: pl_module.member(name) for name in WEIGHTS}
        self.weights.append(
            {
                name: {key: value.clone() for key, value in member.model.state_dict().items()}
                for name, member in members.items()
            }
        )
        self.moments.append(
            {
                name: [
                    {key: value.clone() for key, value in state[parameter].items()} for parameter in member.parameters()
                ]
                for name, member in members.items()
            }
        )
        loaders = trainer.datamodule.eval_loaders("dev", [TARGET])
        panel = {**members, "ensemble": Ensemble(members, WEIGHTS)}
        self.scores.append({name: evaluate(module, loaders)[TARGET].accuracy for name, module in panel.items()})


@pytest.fixture
def merged_run(joint: Any, data_module: Any, trainer: Any) -> Any:
    """Trains and merges; gives the callback and what stood before and after: ``merged_run(epochs, n, **settings)``."""

    def run(
        epochs: int = 1, every: int = 1, weights: Mapping[str, float] = WEIGHTS, **settings: Any
    ) -> tuple[MergeCallback, Witness, Witness]:
        merges = MergeCallback(TARGET, weights, EveryEpochs(every), MergeSettings(**settings))
        before, after = Witness(), Witness()
        fitting = trainer(epochs, before, merges, after)
        fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        return merges, before, after

    return run


def test_it_scores_members_and_ensemble_before_and_the_merged_model_after(merged_run: Any) -> None:
    merges, before, after = merged_run(2)
    for record, was, became in zip(merges.history, before.scores, after.scores, strict=True):
        found = record["targets"][TARGET]
        assert found["before"] == was
        assert found["mean_before"] == pytest.approx(sum(was[name] for name in WEIGHTS) / 3)
        assert {became[name] for name in WEIGHTS} == {found["after"]}
        assert found["gain"] == found["after"] - found["mean_before"]
    assert any(len(set(was.values())) > 2 for was in before.scores), "all scores are equal: nothing was compared"


def test_a_merge_is_the_weighted_mean_of_the_members_as_they_were(merged_run: Any) -> None:
    merges, before, after = merged_run()
    for key, merged in after.weights[0]["en-US"].items():
        expected = sum(WEIGHTS[name] * before.weights[0][name][key].double() for name in WEIGHTS)
        torch.testing.assert_close(merged.double(), expected, atol=1e-6, rtol=1e-6)
        assert torch.equal(merged, merges.merged[key])


def test_a_record_tells_of_sources_and_distances_too(merged_run: Any) -> None:
    merges, before, _ = merged_run(2)
    base = {key: tensor for key, tensor in merges.base.items() if tensor.is_floating_point()}
    for record, was in zip(merges.history, before.weights, strict=True):
        assert list(record["sources"]) == list(WEIGHTS)
        assert len({found["after"] for found in record["sources"].values()}) > 1, "each has its own split"
        assert all(0 <= value <= 1 for found in record["sources"].values() for value in found.values())
        assert list(record["distances"]) == ["en-US|de-DE", "en-US|nl-NL", "de-DE|nl-NL"]
        vectors = {
            name: torch.cat(
                [(was[name][key] - base[key]).double().flatten() for key in base if base[key].is_floating_point()]
            )
            for name in WEIGHTS
        }
        for pair, distance in record["distances"].items():
            one, other = (vectors[name] for name in pair.split("|"))
            assert distance == pytest.approx(float((one - other).norm() / ((one.norm() + other.norm()) / 2)), rel=1e-4)
        assert record["drift"] == pytest.approx(sum(record["distances"].values()) / 3)


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


def test_a_merge_that_loses_more_than_the_tolerance_is_rolled_back(merged_run: Any) -> None:
    merges, before, after = merged_run(2, tolerance=-1.1)  # no merge gains as much as that
    assert [record["committed"] for record in merges.history] == [False, False]
    assert merges.merged is None
    for was, became in zip(before.weights, after.weights, strict=True):
        for name in WEIGHTS:
            assert all(torch.equal(was[name][key], became[name][key]) for key in was[name])
    for was, became in zip(before.moments, after.moments, strict=True):
        for name in WEIGHTS:
            for one, other in zip(was[name], became[name], strict=True):
                assert all(torch.equal(one[key], other[key]) for key in one)
    # The members went on apart.
    assert not torch.equal(after.weights[1]["en-US"]["classifier.dense.weight"], _dense(after, "de-DE"))


def _dense(witness: Witness, name: str) -> Tensor:
    return witness.weights[1][name]["classifier.dense.weight"]


@pytest.mark.parametrize(("above", "committed"), [(1e-9, True), (-1e-9, False)])
def test_the_tolerance_is_the_largest_loss_that_is_accepted(merged_run: Any, above: float, committed: bool) -> None:
    merges, _, _ = merged_run()
    loss = -merges.history[0]["targets"][TARGET]["gain"]
    assert loss != 0
    again, _, _ = merged_run(tolerance=loss + above)
    assert again.history[0]["targets"][TARGET]["gain"] == -loss
    assert again.history[0]["committed"] is committed


def test_only_a_rollback_looks_at_the_targets_labels() -> None:
    for tolerance, supervision in ((None, "none"), (0.0, "target-dev-labels"), (0.5, "target-dev-labels")):
        merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings(tolerance=tolerance))
        assert merges.supervision == supervision


def each_moment(before: Witness, after: Witness) -> Any:
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


def test_a_member_that_is_not_merged_keeps_its_own_weights(joint: Any, data_module: Any, trainer: Any) -> None:
    weights = {"en-US": 0.6, "de-DE": 0.4}
    merges, before, after = MergeCallback(TARGET, weights, EveryEpochs(1), MergeSettings()), Witness(), Witness()
    trainer(1, before, merges, after).fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
    key = "classifier.dense.weight"
    assert torch.equal(before.weights[0]["nl-NL"][key], after.weights[0]["nl-NL"][key])
    assert torch.equal(after.weights[0]["en-US"][key], after.weights[0]["de-DE"][key])
    assert set(merges.history[0]["targets"][TARGET]["before"]) == {"en-US", "de-DE", "ensemble"}


def test_a_method_on_task_vectors_is_given_the_base(joint: Any, data_module: Any, trainer: Any) -> None:
    module = joint(list(WEIGHTS))
    base = {name: tensor.clone() for name, tensor in module.member("en-US").model.state_dict().items()}
    settings = MergeSettings(method="task_arithmetic", parameters={"scaling": 0.0})
    merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), settings, base=base)
    trainer(1, merges).fit(module, datamodule=data_module(list(WEIGHTS)))
    # Of task vectors scaled by nothing the base is left.
    for name, tensor in base.items():
        torch.testing.assert_close(module.member("nl-NL").model.state_dict()[name], tensor, atol=1e-6, rtol=1e-6)


def test_the_history_is_plain_values_and_a_checkpoint_loads_safely(
    joint: Any, data_module: Any, trainer: Any, tmp_path: Path
) -> None:
    merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
    saving = ModelCheckpoint(tmp_path, "{epoch}", monitor="merge/accuracy", mode="max", save_on_train_epoch_end=True)
    fitting = trainer(2, merges, saving, enable_checkpointing=True)
    fitting.fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(type(key) is str and plain(one) for key, one in value.items())
        return type(value) in (str, int, float, bool)

    assert all(plain(record) for record in merges.history)
    (path,) = tmp_path.glob("epoch=*.ckpt")
    stored = torch.load(path, weights_only=True)
    state = stored["callbacks"][merges.state_key]
    best = max(range(2), key=lambda place: merges.history[place]["targets"][TARGET]["after"])
    assert path.name == f"epoch={best}.ckpt", "a checkpoint is chosen by the score of the model that it holds"
    assert state["history"] == merges.history[: best + 1]
    for name in WEIGHTS:
        for key, tensor in state["merged"].items():
            assert torch.equal(stored["state_dict"][f"members.{name}.model.{key}"], tensor)
    restored = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
    restored.load_state_dict(state)
    assert restored.history == merges.history[: best + 1]
    assert restored.merged is not None
    assert all(torch.equal(restored.merged[key], tensor) for key, tensor in state["merged"].items())


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
