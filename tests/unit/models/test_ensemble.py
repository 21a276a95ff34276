"""Members that answer together give what they give one by one."""

from typing import Any

import pytest
import torch

from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.models.ensemble import Ensemble, Panel
from mu_lightning.models.votes import VOTES
from mu_lightning.utilities.errors import UserError

WEIGHTS = {"en-US": 0.5, "de-DE": 0.3, "nl-NL": 0.2}


@pytest.fixture(scope="module")
def members(joint: Any) -> dict[str, Any]:
    """Three classifiers with different heads, so that they disagree."""
    return {name: joint([name], seed=seed).member(name).eval() for seed, name in enumerate(WEIGHTS)}


@pytest.fixture
def loaders(data_module: Any) -> Any:
    return data_module().eval_loaders("dev", ["af-ZA", "nl-NL"])


def test_a_panels_named_logits_score_as_separate_evaluations_do(members: Any, loaders: Any) -> None:
    votes = {f"the {vote} vote": (vote, list(WEIGHTS.values())) for vote in VOTES}
    together = evaluate_named(Panel(members, votes, with_members=True), loaders)
    assert set(together) == {*votes, *members}
    for name, found in together.items():
        module = members[name] if name in members else Ensemble(members, WEIGHTS, votes[name][0])
        alone = evaluate(module, loaders)
        for locale in loaders:
            assert found[locale].predictions.tolist() == alone[locale].predictions.tolist()
            assert found[locale].summary() == alone[locale].summary()
    predictions = {tuple(together[name]["af-ZA"].predictions) for name in members}
    assert len(predictions) == 3, "the members agree, so nothing was compared"


def test_the_confidence_of_a_vote_is_its_share_or_by_softmax(members: Any) -> None:
    votes = {"soft": ("soft", [0.5, 0.3, 0.2]), "one": ("uriel_logits", {"de-DE": 1.0})}
    panel = Panel(members, votes)
    members["de-DE"].temperature = 2.0
    try:
        found = panel.confidences({"soft": torch.tensor([[0.7, 0.3]]), "one": torch.tensor([[2.0, 0.0]])})
    finally:
        members["de-DE"].temperature = 1.0
    assert found["soft"].item() == pytest.approx(0.7)
    assert found["one"].item() == pytest.approx(torch.tensor([1.0, 0.0]).softmax(0)[0].item())  # its temperature


def test_without_members_only_votes_are_given(members: Any, loaders: Any) -> None:
    batch = next(iter(loaders["af-ZA"]))
    assert list(Panel(members, {"vote": ("soft", [0.2, 0.3, 0.5])})(batch)) == ["vote"]


def test_an_ensemble_weighs_members_by_name_not_by_the_order_of_the_weights(members: Any, loaders: Any) -> None:
    batch = next(iter(loaders["af-ZA"]))
    with torch.inference_mode():
        expected = sum(WEIGHTS[name] * member(batch) for name, member in members.items())
        for weights in (WEIGHTS, dict(reversed(WEIGHTS.items()))):
            torch.testing.assert_close(Ensemble(members, weights)(batch), expected)


def test_the_members_are_part_of_the_module_and_follow_its_mode(members: Any) -> None:
    ensemble = Ensemble(members, WEIGHTS)
    assert len(list(ensemble.parameters())) == 3 * len(list(members["en-US"].parameters()))
    ensemble.train()
    assert all(member.training for member in members.values())
    ensemble.eval()
    assert not any(member.training for member in members.values())


def test_an_unknown_vote_is_refused_with_the_nearest(members: Any) -> None:
    with pytest.raises(UserError, match="unknown voting method 'majorty': did you mean majority"):
        Ensemble(members, WEIGHTS, "majorty")
