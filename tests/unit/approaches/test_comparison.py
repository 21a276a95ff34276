"""Everything that iterative merging has to beat, each scored as it is on its own."""

from typing import Any

import numpy as np
import pytest
import torch

from mu_lightning.approaches.comparison import compare, merge_once
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.ensemble import Ensemble
from mu_lightning.models.votes import VOTES
from mu_lightning.results.results import Result
from mu_lightning.settings import MergeSettings
from mu_lightning.typology.plan import SourcePlan, plan_sources, reweighted

TARGET, SOURCES = "af-ZA", ("nl-NL", "de-DE", "en-US")


@pytest.fixture(scope="module")
def plan() -> SourcePlan:
    return plan_sources(TARGET, available=SOURCES, locales=SOURCES)


@pytest.fixture(scope="module")
def trained(joint: Any, data_module: Any) -> Any:
    """Classifiers that differ much, in evaluation mode: the sources and the native one, and the data."""
    members = {name: joint([name], seed=seed).member(name).eval() for seed, name in enumerate((*SOURCES, TARGET))}
    return members, data_module()


@pytest.fixture(scope="module")
def results(trained: Any, plan: SourcePlan) -> dict[str, Result]:
    members, data = trained
    sources = {name: members[name] for name in SOURCES}
    return {result.name: result for result in compare(sources, members[TARGET], plan, data, MergeSettings(), seed=4)}


def alone(trained: Any, module: Any) -> Any:
    return evaluate(module, trained[1].eval_loaders("test", [TARGET]))[TARGET]


def test_it_has_a_row_for_each_rival_in_order(results: dict[str, Result]) -> None:
    names = list(results)
    assert names[0] == "native"
    assert names[1].startswith("best source (")
    assert names[2:] == [
        "merged once, equal weights",
        "merged once, URIEL weights",
        "merged once, shuffled URIEL weights",
        *(f"ensemble, {vote}" for vote in VOTES),
    ]
    assert {result.scores.locale for result in results.values()} == {TARGET}


def test_only_the_native_one_has_seen_the_targets_labels(results: dict[str, Result]) -> None:
    assert {name for name, result in results.items() if result.supervision != "none"} == {"native"}
    assert results["native"].supervision == "target-labels"


def test_the_best_source_is_the_one_that_scores_highest(results: dict[str, Result], trained: Any) -> None:
    singles = {name: alone(trained, trained[0][name]).accuracy for name in SOURCES}
    best = next(result for name, result in results.items() if name.startswith("best source"))
    assert best.scores.accuracy == max(singles.values())
    assert best.details["sources"] == singles
    assert len(set(singles.values())) > 1, "all are equal: any would be the best"


@pytest.mark.parametrize(
    ("label", "preweight"), [("equal", "equal"), ("URIEL", "uriel"), ("shuffled URIEL", "shuffled")]
)
def test_a_merge_is_the_weighted_mean_scored(
    results: dict[str, Result], trained: Any, plan: SourcePlan, label: str, preweight: str
) -> None:
    weights = reweighted(plan, preweight, 4)
    found = results[f"merged once, {label} weights"]
    assert found.details["weights"] == weights
    merged = merge_once({name: trained[0][name] for name in SOURCES}, weights, MergeSettings(), 4)
    for key, tensor in merged.model.state_dict().items():
        expected = sum(weights[name] * trained[0][name].model.state_dict()[key].double() for name in SOURCES)
        torch.testing.assert_close(tensor.double(), expected, atol=1e-6, rtol=1e-6)
    assert found.scores.predictions.tolist() == alone(trained, merged).predictions.tolist()


def test_the_weights_of_the_three_merges_differ_and_sum_to_1(results: dict[str, Result]) -> None:
    chosen = [result.details["weights"] for name, result in results.items() if name.startswith("merged once")]
    assert len({tuple(weights.values()) for weights in chosen}) == 3
    assert sorted(chosen[1].values()) == sorted(chosen[2].values())
    for weights in chosen:
        assert sum(weights.values()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("vote", VOTES)
def test_a_vote_is_scored_as_the_ensemble_on_its_own(
    results: dict[str, Result], trained: Any, plan: SourcePlan, vote: str
) -> None:
    module = Ensemble({name: trained[0][name] for name in SOURCES}, plan.weights, vote)
    assert results[f"ensemble, {vote}"].scores.predictions.tolist() == alone(trained, module).predictions.tolist()


def test_a_merge_leaves_the_sources_as_they_are(trained: Any, plan: SourcePlan) -> None:
    sources = {name: trained[0][name] for name in SOURCES}
    before = {name: {k: v.clone() for k, v in one.model.state_dict().items()} for name, one in sources.items()}
    merged = merge_once(sources, plan.weights, MergeSettings(), 0)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    for name, one in sources.items():
        assert all(torch.equal(value, before[name][key]) for key, value in one.model.state_dict().items())


def test_methods_on_task_vectors_are_given_the_base(trained: Any, plan: SourcePlan) -> None:
    members, data = trained
    base = {name: tensor.clone() for name, tensor in members[TARGET].model.state_dict().items()}
    merging = MergeSettings(method="task_arithmetic", parameters={"scaling": 0.0})
    found = compare({name: members[name] for name in SOURCES}, members[TARGET], plan, data, merging, 0, base)
    native, merged = found[0].scores, next(one for one in found if "URIEL" in one.name).scores
    # Of task vectors scaled by nothing the base is left, which here is the native model.
    assert np.array_equal(native.predictions, merged.predictions)
