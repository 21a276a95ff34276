"""Outputs of a run: model folders, test scores, and results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mu_lightning.checkpoints import model_folder_name
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.ensemble import Panel
from mu_lightning.monitoring.sinks import report_models
from mu_lightning.results.provenance import data_fingerprints
from mu_lightning.results.results import Result, show, write_results
from mu_lightning.results.run_folders import JOINT_RESULT, POOLED
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.typology.plan import SourcePlan


def export_and_score(run: TrainingRun, trained: Trained) -> list[Result]:
    """Saves the models of the stage ``fit`` and evaluates them on test splits.

    With a target: the merged model, or the joint model; else every model.
    """
    if run.plan.merges:
        results = [result for sources in run.plan.targets for result in _merged(run, trained, sources)]
        if not trained.merged:
            for name in run.plan.members:
                own = model_folder_name(run.settings.model.base, run.plan.corpus.name, name)
                run.exports.save(run.folder / "members" / own, trained.member(name), [name], trained.trainer)
        return results
    return pooled(run, trained) if run.plan.targets else _by_model(run, trained)


def pooled(run: TrainingRun, trained: Trained) -> list[Result]:
    """Saves the joint model and evaluates it zero-shot on the targets."""
    ((name, sources),) = trained.data.members.items()
    model = trained.member(name)
    scores = evaluate(model, trained.data.eval_loaders("test", [plan.target for plan in run.plan.targets]))
    run.exports.save(run.folder / name, model, sources, trained.trainer)
    details = {"sources": list(sources)}
    return [Result(JOINT_RESULT, found, details=details) for found in scores.values()]


def score_members(sources: Mapping[str, IntentClassifier], plan: SourcePlan, data: IntentDataModule) -> list[Result]:
    """Evaluates the sources and their weighted vote on the target's test split, if there is no merged model.

    There are no results without test rows.
    """
    if not len(data.rows(plan.target, "test")):
        return []
    weights = {name: plan.weights[name] for name in sources}
    panel = Panel(sources, {"ensemble": ("uriel_logits", list(weights.values()))}, with_members=True)
    scores = evaluate_named(panel, data.eval_loaders("test", [plan.target]))
    alone = [Result(f"source {name}", scores[name][plan.target]) for name in sources]
    vote = Result("ensemble, uriel_logits", scores["ensemble"][plan.target], details={"weights": weights})
    return [*alone, vote]


def write_outcome(run: TrainingRun, trained: Trained, results: Sequence[Result]) -> None:
    """Writes the results and prints the locations of outputs, on rank 0."""
    if not trained.trainer.is_global_zero:
        return
    scored = sorted({result.scores.locale for result in results})
    write_results(
        run.folder,
        results,
        {
            "verb": "fit",
            "config": run.config,
            "seed": run.plan.seed,
            "test_fingerprints": data_fingerprints(trained.data, scored, ("test",)),
        },
    )
    run.say("\n" + show(results) + "\n")
    for what, path in _paths(run).items():
        run.say(f"{what}: {path}")


def _merged(run: TrainingRun, trained: Trained, sources: SourcePlan) -> list[Result]:
    target = sources.target
    if target not in trained.merged:
        # There is no merged model.
        run.say(
            f"{target}: {'every merge was rolled back' if trained.history else 'nothing was merged'}: the run has no "
            "merged model, so the members are evaluated"
        )
        return score_members({name: trained.member(name) for name in sources.sources}, sources, trained.data)
    final = trained.classifier(target)
    scores = evaluate(final, trained.data.eval_loaders("test", [target]))
    details = {"weights": trained.weights(target), "merges": len(trained.history)}
    folder, report = run.exports.merged_folder(sources), run.exports.merge_report(sources, trained.history)
    run.exports.save(folder, final, sources.sources, trained.trainer, report)
    for logger in trained.trainer.loggers if trained.trainer.is_global_zero else ():
        report_models(logger, run.folder, target, folder, details)
    return [Result("iterative merging", scores[target], trained.supervision(target), details)]


def _by_model(run: TrainingRun, trained: Trained) -> list[Result]:
    results = []
    for name, locales in run.plan.members.items():
        member = trained.member(name)
        unseen = run.plan.unseen[name]
        # For leave-one-out models only zero-shot scores are shown.
        seen = () if run.settings.all_leave_one_out else locales
        for tag, scores in evaluate(member, trained.data.eval_loaders("test", [*seen, *unseen])).items():
            results.append(Result(name, scores, "none" if tag in unseen else "target-labels"))
        run.exports.save(run.plan.exports[name], member, locales, trained.trainer)
    return results


def _paths(run: TrainingRun) -> dict[str, Path]:
    folder = run.folder
    if not run.plan.targets:
        models = {f"model {name}": path for name, path in run.plan.exports.items()}
        return models | {"scores": folder / "results.json"}
    paths = {
        "merged model": folder / "merged",
        "multilingual model": folder / POOLED,
        "members": folder / "members",
        "scores": folder / "results.json",
        "what each merge changed": folder / "merges.html",
        "accuracy around each merge": folder / "merges.png",
    }
    return {what: path for what, path in paths.items() if path.exists()}
