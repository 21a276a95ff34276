"""Several targets in one run: each has its own weights and model."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

TARGET = "af-ZA"
FIRST = {"en-US": 0.5, "de-DE": 0.5}
OTHERS = {"nl-NL": {"en-US": 0.1, "de-DE": 0.9}}
KEY = "classifier.dense.weight"


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


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
