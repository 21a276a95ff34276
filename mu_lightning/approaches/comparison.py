"""Iterative merging beside what it has to beat: native, best source, merged once, ensembles."""

from collections.abc import Mapping

from torch import Tensor

from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.models.votes import VOTES
from mu_lightning.results.results import Result
from mu_lightning.settings import MergeSettings
from mu_lightning.typology.plan import SourcePlan, reweighted

ONE_SHOT = {"equal": "equal", "uriel": "URIEL", "shuffled": "shuffled URIEL"}


def compare(
    sources: Mapping[str, IntentClassifier],
    native: IntentClassifier,
    plan: SourcePlan,
    data: IntentDataModule,
    merging: MergeSettings,
    seed: int,
    base: Mapping[str, Tensor] | None = None,
) -> list[Result]:
    """Scores on the target's test split what members trained apart give, alone, merged once and together.

    Args:
        sources: locale -> its classifier, trained without merges.
        native: the classifier trained on the target's own labels.
        plan: the target, its sources and their weights.
        data: gives the test split.
        merging: the merge method and its parameters.
        seed: for the shuffled weights and for methods that draw.
        base: the state dict that the sources started from, for methods on task vectors.

    Returns:
        native; best source (the best single source of those used, as the test split tells: an upper bound on choosing
        one); merged once with equal, URIEL and shuffled URIEL weights; the four votes with URIEL weights.
    """
    target = plan.target
    loaders = data.eval_loaders("test", [target])
    weights = {name: plan.weights[name] for name in sources}
    panel = Panel(sources, {vote: (vote, list(weights.values())) for vote in VOTES}, with_members=True)
    scores = {name: found[target] for name, found in evaluate_named(panel, loaders).items()}
    best = max(sources, key=lambda name: scores[name].accuracy)
    singles = {name: scores[name].accuracy for name in sources}
    results = [
        Result("native", evaluate(native, loaders)[target], "target-labels"),
        Result(f"best source ({best})", scores[best], details={"sources": singles}),
    ]
    for preweight, label in ONE_SHOT.items():
        chosen = reweighted(plan, preweight, seed)
        merged = merge_once(sources, chosen, merging, seed, base)
        scored = evaluate(merged, loaders)[target]
        results.append(Result(f"merged once, {label} weights", scored, details={"weights": chosen}))
    return results + [Result(f"ensemble, {vote}", scores[vote], details={"weights": weights}) for vote in VOTES]


def score_members(sources: Mapping[str, IntentClassifier], plan: SourcePlan, data: IntentDataModule) -> list[Result]:
    """Scores each source alone and their weighted vote on the target's test split, where there is no merged model."""
    weights = {name: plan.weights[name] for name in sources}
    panel = Panel(sources, {"ensemble": ("uriel_logits", list(weights.values()))}, with_members=True)
    scores = evaluate_named(panel, data.eval_loaders("test", [plan.target]))
    alone = [Result(f"source {name}", scores[name][plan.target]) for name in sources]
    vote = Result("ensemble, uriel_logits", scores["ensemble"][plan.target], details={"weights": weights})
    return [*alone, vote]


def merge_once(
    sources: Mapping[str, IntentClassifier],
    weights: Mapping[str, float],
    merging: MergeSettings,
    seed: int,
    base: Mapping[str, Tensor] | None = None,
) -> IntentClassifier:
    """One merge of trained classifiers, in memory, as a new classifier."""
    sample = next(iter(sources.values()))
    merged = merge_tensors(
        merging.method,
        {name: source.merge_state() for name, source in sources.items()},
        weights,
        base=base,
        parameters=merging.parameters,
        frozen_rows=sample.frozen_rows(),
        seed=seed,
    )
    return sample.with_merged(merged)
