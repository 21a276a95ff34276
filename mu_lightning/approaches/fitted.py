"""What a run of `fit` came to: its problem and approach, its model folders, its scores, and the record of them all."""

from collections.abc import Sequence
from pathlib import Path

from mu_lightning.approaches.base import Approach, Training, identity_of
from mu_lightning.approaches.ensemble import Ensemble
from mu_lightning.approaches.iterative import Iterative
from mu_lightning.approaches.joint import Joint
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.single import TARGET, Single
from mu_lightning.checkpoints import model_folder_name
from mu_lightning.evaluation.loop import evaluate, evaluate_named
from mu_lightning.models.ensemble import Panel
from mu_lightning.monitoring.sinks import report_models
from mu_lightning.results.identity import Identity, plain
from mu_lightning.results.provenance import data_fingerprints
from mu_lightning.results.results import Result, show, write_results
from mu_lightning.settings import RunSettings
from mu_lightning.training.members import POOLED
from mu_lightning.training.run import Trained, TrainingRun
from mu_lightning.typology.plan import SourcePlan


def problem_of(settings: RunSettings, target: str, sources: Sequence[str] = ()) -> Problem:
    """The problem that a run solves for a target.

    Args:
        settings: the run's.
        target: the locale that is scored.
        sources: the locales that the run takes, in order.
    """
    return Problem(target, settings.data, settings.model.base, tuple(sources) or None)


def training_of(settings: RunSettings) -> Training:
    """How a run trains."""
    return Training(settings.model, dict(settings.trainer), settings.guard)


def iterative_of(settings: RunSettings, plan: SourcePlan) -> Iterative:
    """The approach of a run that merges while it trains, for one of its targets."""
    weights = settings.weights
    if weights is not None and not isinstance(weights, str):
        weights = ",".join(f"{tag}={weight}" for tag, weight in weights.items())
    return Iterative(
        num_languages=len(plan.sources),
        preweight=settings.preweight,
        weights=weights,
        typology=settings.typology,
        training=training_of(settings),
        merge=settings.merge,
        others=tuple(target for target in settings.targets if target != plan.target),
    )


def export_and_score(run: TrainingRun, trained: Trained) -> list[Result]:
    """Writes the model folders of a run, and scores them on test splits.

    With a target these are its merged model, or the one model on all its sources; without one each model by itself.
    """
    if run.plan.merges:
        results = [result for sources in run.plan.targets for result in _merged(run, trained, sources)]
        if not trained.merged:
            for name in run.plan.members:
                own = model_folder_name(run.settings.model.base, run.plan.corpus.name, name)
                run.exports.save(run.folder / "members" / own, trained.member(name), [name], trained.trainer)
        return results
    return _pooled(run, trained) if run.plan.targets else _by_model(run, trained)


def write_outcome(run: TrainingRun, trained: Trained, results: Sequence[Result]) -> None:
    """Writes the run's own results; in the first process alone."""
    if not trained.trainer.is_global_zero:
        return
    scored = sorted({result.scores.locale for result in results})
    write_results(
        run.folder,
        results,
        {
            "command": "fit",
            "config": run.config,
            "recipe": {"command": "fit", "problem": plain(problem_of(run.settings, scored[0])), "models": {}},
            "fingerprints": {"test": data_fingerprints(trained.data, scored, ("test",))},
        },
    )


def say_outcome(run: TrainingRun, results: Sequence[Result]) -> None:
    """Prints a table of results, and where everything lies."""
    run.say("\n" + show(results) + "\n")
    for what, path in _paths(run).items():
        run.say(f"{what}: {path}")


def _identity(run: TrainingRun, target: str, approach: Approach, sources: Sequence[str]) -> Identity:
    return identity_of(problem_of(run.settings, target), approach, run.plan.seed, sources)


def _merged(run: TrainingRun, trained: Trained, plan: SourcePlan) -> list[Result]:
    target = plan.target
    if target not in trained.merged:
        # There is no merged model then, and none must be made up.
        run.say(
            f"{target}: {'every merge was rolled back' if trained.history else 'nothing was merged'}: the run has no "
            "merged model, so the source models are scored as they are"
        )
        return _apart(run, trained, plan)
    final = trained.classifier(target)
    details = {"weights": trained.weights(target), "merges": len(trained.history)}
    folder, report = run.exports.merged_folder(plan), run.exports.merge_report(plan, trained.history)
    run.exports.save(folder, final, plan.sources, trained.trainer, report)
    scores = evaluate(final, trained.data.eval_loaders("test", [target]))
    for logger in trained.trainer.loggers if trained.trainer.is_global_zero else ():
        report_models(logger, run.folder, target, folder, details)
    identity = _identity(run, target, iterative_of(run.settings, plan), plan.sources)
    return [Result(identity, scores[target], trained.supervision(target), details)]


def _apart(run: TrainingRun, trained: Trained, plan: SourcePlan) -> list[Result]:
    """Each source alone and their weighted vote on the target's test split; nothing where it has no rows."""
    if not len(trained.data.rows(plan.target, "test")):
        return []
    members = {name: trained.member(name) for name in plan.sources}
    weights = {name: plan.weights[name] for name in members}
    vote = "uriel_logits"
    panel = Panel(members, {vote: (vote, weights)}, with_members=True)
    scores = evaluate_named(panel, trained.data.eval_loaders("test", [plan.target]))
    settings, training = run.settings, training_of(run.settings)
    ensemble = Ensemble(len(members), settings.preweight, None, settings.typology, training, vote)
    return [
        *(
            Result(_identity(run, plan.target, Single(name, training=training), [name]), scores[name][plan.target])
            for name in members
        ),
        Result(
            _identity(run, plan.target, ensemble, plan.sources), scores[vote][plan.target], details={"weights": weights}
        ),
    ]


def _pooled(run: TrainingRun, trained: Trained) -> list[Result]:
    """Keeps and scores one model on all sources together, zero-shot on the targets."""
    ((name, sources),) = trained.data.members.items()
    model = trained.member(name)
    run.exports.save(run.folder / name, model, sources, trained.trainer)
    scores = evaluate(model, trained.data.eval_loaders("test", [plan.target for plan in run.plan.targets]))
    approach = Joint(num_languages=len(sources), typology=run.settings.typology, training=training_of(run.settings))
    return [Result(_identity(run, found.locale, approach, sources), found) for found in scores.values()]


def _by_model(run: TrainingRun, trained: Trained) -> list[Result]:
    results, training = [], training_of(run.settings)
    for name, locales in run.plan.members.items():
        member = trained.member(name)
        unseen = run.plan.unseen[name]
        # Of models that leave out one locale each, the others' scores would fill the table.
        seen = () if run.settings.all_leave_one_out else locales
        run.exports.save(run.plan.exports[name], member, locales, trained.trainer)
        for tag, scores in evaluate(member, trained.data.eval_loaders("test", [*seen, *unseen])).items():
            approach: Approach = Joint(num_languages=len(locales), training=training)
            if len(locales) == 1:
                approach = Single(TARGET if tag in locales else locales[0], training=training)
            identity = _identity(run, tag, approach, locales)
            results.append(Result(identity, scores, "none" if tag in unseen else "target-labels"))
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
