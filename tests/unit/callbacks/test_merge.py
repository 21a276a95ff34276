"""MergeCallback: scores, merges, scores again, commits or rolls back, and tells it all in plain values."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from mu_lightning.callbacks.merge import MergeCallback
from torch import Tensor

from mu_lightning.schedules.schedules import Adaptive, EveryEpochs, EverySteps, OnPlateau, Schedule
from mu_lightning.settings import MergeSettings
from tests.conftest import merge_settings

TARGET = "af-ZA"
WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}
KEY = "classifier.dense.weight"


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


def test_a_merge_is_scaled_from_where_the_members_started_but_for_the_head(merged_run: Any) -> None:
    merges, before, after = merged_run(parameters={"scale": 1.6})
    for key, merged in after.weights[0]["en-US"].items():
        start = merges.base[key].double()
        mean = sum(WEIGHTS[name] * before.weights[0][name][key].double() for name in WEIGHTS)
        scale = 1.0 if key.startswith("classifier.") else 1.6
        torch.testing.assert_close(merged.double(), start + scale * (mean - start), atol=2e-6, rtol=1e-5)


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


@pytest.mark.parametrize("parameters", [{"scaling": 1e39}, {"scaling": 1e19}])
def test_a_merge_that_is_not_finite_is_rolled_back(merged_run: Any, parameters: dict[str, float]) -> None:
    merges, before, after = merged_run(2, method="task_arithmetic", parameters=parameters)
    assert [record["committed"] for record in merges.history] == [False, False]
    assert merges.merged is None
    for record in merges.history:
        found = record["targets"][TARGET]
        assert "contain" in found["not_finite"]
        assert (found["after"], found["gain"]) == (0.0, -found["mean_before"])
    for was, became in zip(before.weights, after.weights, strict=True):
        for name in WEIGHTS:
            assert all(torch.equal(was[name][key], became[name][key]) for key in was[name])


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


def _dense(witness: Any, name: str) -> Tensor:
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
        merges = MergeCallback(TARGET, WEIGHTS, EveryEpochs(1), merge_settings(tolerance=tolerance))
        assert merges.supervision == supervision


def test_a_member_that_is_not_merged_keeps_its_own_weights(merged_run: Any) -> None:
    merges, before, after = merged_run(weights={"en-US": 0.6, "de-DE": 0.4})
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
    merges = MergeCallback(TARGET, WEIGHTS, schedule, merge_settings(**settings), others={"sv-SE": WEIGHTS})
    assert merges.supervision == merges.supervision_of(TARGET) == supervision
    own = "target-dev-labels" if {"tolerance"} <= set(settings) or settings.get("reweight") == "target-dev" else "none"
    assert merges.supervision_of("sv-SE") == own, "a schedule reads the first target's labels alone"
