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
from mu_lightning.schedules import Adaptive, AtEnd, EveryEpochs, EverySteps, Never, OnPlateau, Schedule
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
        epochs: int = 1,
        every: int = 1,
        weights: Mapping[str, float] = WEIGHTS,
        schedule: Schedule | None = None,
        others: Mapping[str, Mapping[str, float]] | None = None,
        **settings: Any,
    ) -> tuple[MergeCallback, Witness, Witness]:
        chosen = schedule or EveryEpochs(every)
        merges = MergeCallback(TARGET, weights, chosen, MergeSettings(**settings), others=others)
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

    assert all(plain(scores) for scores in merges.epochs)

    assert all(plain(record) for record in merges.history)
    (path,) = tmp_path.glob("epoch=*.ckpt")
    stored = torch.load(path, weights_only=True)
    state = stored["callbacks"][merges.state_key]
    best = max(range(2), key=lambda place: merges.history[place]["targets"][TARGET]["after"])
    assert path.name == f"epoch={best}.ckpt", "a checkpoint is chosen by the score of the model that it holds"
    assert state["history"] == merges.history[: best + 1]
    for name in WEIGHTS:
        for key, tensor in state["models"][TARGET].items():
            assert torch.equal(stored["state_dict"][f"members.{name}.model.{key}"], tensor)
    restored = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings())
    restored.load_state_dict(state)
    assert restored.history == merges.history[: best + 1]
    assert restored.merged is not None
    assert all(torch.equal(restored.merged[key], tensor) for key, tensor in state["models"][TARGET].items())


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


KEY = "classifier.dense.weight"


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


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


def test_the_outer_optimiser_steps_from_where_the_members_started(merged_run: Any) -> None:
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


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_schedule_by_steps_merges_in_an_epoch_after_the_optimiser_has_stepped(
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


def test_weights_that_are_re_read_follow_the_members_dev_scores(merged_run: Any) -> None:
    merges, before, _ = merged_run(2, reweight="target-dev")
    for record, was in zip(merges.history, before.scores, strict=True):
        total = sum(was[name] for name in WEIGHTS)
        found = record["targets"][TARGET]["weights"]
        assert found == pytest.approx({name: was[name] / total for name in WEIGHTS})
    assert merges.history[0]["targets"][TARGET]["weights"] != pytest.approx(WEIGHTS)
    expected = sum(
        merges.history[1]["targets"][TARGET]["weights"][name] * before.weights[1][name][KEY] for name in WEIGHTS
    )
    torch.testing.assert_close(merges.merged[KEY], expected, atol=1e-6, rtol=1e-5)
    assert merges.supervision == "target-dev-labels"


@pytest.mark.parametrize(
    ("schedule", "settings", "supervision"),
    [
        (EveryEpochs(1), {}, "none"),
        (EverySteps(5), {"reweight": "source-dev"}, "none"),
        (EveryEpochs(1), {"tolerance": 0.1}, "target-dev-labels"),
        (EveryEpochs(1), {"reweight": "target-dev"}, "target-dev-labels"),
        (OnPlateau(), {}, "target-dev-labels"),
        (Adaptive(), {}, "target-dev-labels"),
    ],
)
def test_what_reads_the_targets_dev_labels_is_said(schedule: Schedule, settings: Any, supervision: str) -> None:
    merges = MergeCallback(TARGET, WEIGHTS, schedule, MergeSettings(**settings), others={"sv-SE": WEIGHTS})
    assert merges.supervision == merges.supervision_of(TARGET) == supervision
    own = "target-dev-labels" if {"tolerance"} <= set(settings) or settings.get("reweight") == "target-dev" else "none"
    assert merges.supervision_of("sv-SE") == own, "a schedule reads the first target's labels alone"


OTHERS = {"nl-NL": {"en-US": 0.1, "de-DE": 0.9}}
FIRST = {"en-US": 0.5, "de-DE": 0.5}


@pytest.mark.parametrize("follow", ["first", "mean"])
def test_each_target_has_its_own_weights_and_model_and_members_follow_one_policy(merged_run: Any, follow: str) -> None:
    merges, before, after = merged_run(weights=FIRST, others=OTHERS, follow=follow)
    (record,) = merges.history
    assert list(record["targets"]) == [TARGET, "nl-NL"]
    was = before.weights[0]
    for target, weights in {TARGET: FIRST, **OTHERS}.items():
        assert record["targets"][target]["weights"] == weights
        expected = sum(weights[name] * was[name][KEY] for name in weights)
        torch.testing.assert_close(merges.models[target][KEY], expected, atol=1e-6, rtol=1e-5)
        assert set(record["targets"][target]["before"]) == {"en-US", "de-DE", "ensemble"}
    followed = merges.models[TARGET][KEY]
    if follow == "mean":
        followed = (followed + merges.models["nl-NL"][KEY]) / 2
    for name in FIRST:
        torch.testing.assert_close(after.weights[0][name][KEY], followed, atol=1e-6, rtol=1e-5)


def test_a_target_whose_model_lost_too_much_keeps_its_last_one_alone(merged_run: Any) -> None:
    first, _, _ = merged_run(weights=FIRST, others=OTHERS)
    gains = {target: found["gain"] for target, found in first.history[0]["targets"].items()}
    low, high = sorted(gains, key=lambda target: gains[target])
    assert gains[low] < gains[high]
    tolerance = -(gains[low] + gains[high]) / 2
    merges, before, after = merged_run(weights=FIRST, others=OTHERS, tolerance=tolerance)
    (record,) = merges.history
    assert {target: found["committed"] for target, found in record["targets"].items()} == {low: False, high: True}
    assert set(merges.models) == {high}
    assert record["committed"] is (high == TARGET), "members follow the first target's"
    assert same(before.weights[0]["en-US"], after.weights[0]["en-US"]) is (high != TARGET)


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
        merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), MergeSettings(**settings))
        trainer(2, merges, seen).fit(joint(list(WEIGHTS)), datamodule=data_module(list(WEIGHTS)))
        return seen.seen

    planned, warmed = rates(), rates(learning_rate="rewarm", rewarm=0.5)
    assert len(planned) == 16
    assert warmed[:8] == planned[:8], "nothing has been merged yet"
    assert [one / other for one, other in zip(warmed[8:12], planned[8:12], strict=True)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8]
    )
    assert warmed[12:] == planned[12:]
