"""Iterative merging beside what it has to beat: native, best source, merged once, ensembles."""

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
    """Trains and scores what a run's merges are set beside: members apart, the targets' own, and one joint model."""
    return [*references(run), *joint_reference(run)]


def references(run: TrainingRun) -> list[Result]:
    """The same members without merges, and the targets' own: trained side by side, kept, and scored."""
    plan = run.plan
    targets = [sources.target for sources in plan.targets]
    members = {**plan.members, **{target: (target,) for target in targets}}
    run.say(f"for comparison, without merges: {', '.join(plan.members)}, and {', '.join(targets)} natively")
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
    """One model on all the sources together, as ``--multilingual`` trains it."""
    run.say(f"for comparison, one model on all of: {', '.join(run.plan.members)}")
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
