"""Baselines for merging during training: target labels, best source, one-shot merges, ensembles."""

from collections.abc import Mapping

from torch import Tensor

from mu_lightning.checkpoints import model_folder_name
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.models.votes import VOTES
from mu_lightning.results.results import Result
from mu_lightning.results.run_folders import POOLED
from mu_lightning.settings import MergeSettings
from mu_lightning.training.outcome import pooled
from mu_lightning.training.run import TrainingRun
from mu_lightning.typology.plan import SourcePlan, reweighted

ONE_SHOT = {"equal": "equal", "uriel": "URIEL", "shuffled": "shuffled URIEL"}


def compared(run: TrainingRun) -> list[Result]:
    """Trains and evaluates the baselines of a run: separate members, models on target labels, and a joint model."""
    return [*references(run), *joint_reference(run)]


def references(run: TrainingRun) -> list[Result]:
    """Trains, saves and evaluates the members without merges, and models on target labels."""
    plan = run.plan
    targets = [sources.target for sources in plan.targets]
    members = {**plan.members, **{target: (target,) for target in targets}}
    run.say(f"baselines, without merges: {', '.join(plan.members)}, and {', '.join(targets)} natively")
    trained = run.train("references", members)
    for name in members:
        folder = model_folder_name(plan.settings.model.base, plan.corpus.name, name)
        run.exports.save(run.folder / "sources" / folder, trained.member(name), [name], trained.trainer)
    base, results = plan.start or plan.joint([targets[0]]).member(targets[0]).merge_state(), []
    for sources in plan.targets:
        classifiers = {name: trained.member(name) for name in sources.sources}
        native = trained.member(sources.target)
        results += compare(classifiers, native, sources, trained.data, plan.settings.merge, plan.seed, base)
    return results


def joint_reference(run: TrainingRun) -> list[Result]:
    """Trains one model on all sources, as with ``--multilingual``."""
    run.say(f"baseline, one model on all of: {', '.join(run.plan.members)}")
    return pooled(run, run.train("joint", {POOLED: tuple(run.plan.members)}))


def compare(
    sources: Mapping[str, IntentClassifier],
    native: IntentClassifier,
    plan: SourcePlan,
    data: IntentDataModule,
    merging: MergeSettings,
    seed: int,
    base: Mapping[str, Tensor] | None = None,
) -> list[Result]:
    """Evaluates separately trained members on the target's test split: alone, merged once, and as ensembles.

    Args:
        sources: locale -> classifier trained without merges.
        native: classifier trained on target labels.
        plan: source plan of the target.
        data: the data module.
        merging: settings of the merge.
        seed: random seed, for shuffled weights and stochastic methods.
        base: initial state dict of the sources, for task vectors.

    Returns:
        Scores of the model on target labels; of the best source (selected on the test split: an upper bound); of
        one-shot merges with equal, URIEL and shuffled weights; of the four votes with URIEL weights.
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


def merge_once(
    sources: Mapping[str, IntentClassifier],
    weights: Mapping[str, float],
    merging: MergeSettings,
    seed: int,
    base: Mapping[str, Tensor] | None = None,
) -> IntentClassifier:
    """Merges trained classifiers in memory."""
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
