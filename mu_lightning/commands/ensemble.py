"""The command `ensemble`: source models vote on targets' rows, weighted by typology."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from mu_lightning.commands.arguments import (
    add_scoring_arguments,
    add_source_arguments,
    add_worker_arguments,
    models_from,
    plan_from,
)
from mu_lightning.commands.names import PREWEIGHT, VOTE
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.models.votes import VOTES
from mu_lightning.typology.plan import SourcePlan, reweighted, table
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved

if TYPE_CHECKING:
    from mu_lightning.approaches.evaluation_context import Bench, Scoring
    from mu_lightning.approaches.tasks import Scored
    from mu_lightning.results.results import Result


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "ensemble",
        "Lets source models vote on a target's rows, or several targets', without merging them: the "
        "members' logits are computed once and shared by all votes and all weightings. Ends with a table of the votes "
        "and of each source alone for each target.",
    )
    add_source_arguments(result)
    add = result.section("sources and weights")
    add("--target-languages", type=str, nargs="+", default=None, help="several targets, separated by commas or spaces")
    add("--preweights", type=PREWEIGHT, nargs="+", default=None, help="several sources of weights, all compared")
    add = result.section("votes")
    add("--voting-method", type=VOTE, default=None, help=f"one vote: {VOTE.names}")
    add("--voting-methods", type=VOTE, nargs="+", default=None, help="several votes (default: all of them)")
    add_scoring_arguments(result)
    add_worker_arguments(result)
    result.add_argument(
        "--output-dir",
        type=Path | None,
        default=None,
        help="write scores and predictions here, each of several targets in a folder of its own; refused if it exists",
    )
    return result


def run(argv: list[str]) -> int:
    """Scores and prints the votes; returns the exit status: 1 if a target of several failed.

    Raises:
        UserError: as of `plan_from`; a source cannot be loaded; label maps or tokenizers differ; the output exists.
    """
    arguments = parser().parse_args(argv)
    for one, several, what in (
        ("voting_method", "voting_methods", "vote"),
        ("target_lang", "target_languages", "target"),
    ):
        if arguments[one] and arguments[several]:
            flags = [f"--{name.replace('_', '-')}" for name in (one, several)]
            raise UserError(f"{flags[0]} names one {what} and {flags[1]} several: give one of the two")
    with reserved(arguments.output_dir):
        return _ensemble(arguments)


def _ensemble(arguments: Namespace) -> int:
    plans = _plans(arguments)
    from mu_lightning.approaches.evaluation_context import prepare
    from mu_lightning.commands.arguments import scoring_from, workers_from

    scoring, workers = scoring_from(arguments), workers_from(arguments)
    models = models_from(arguments) or {}
    used = {tag: models[tag] for plan in plans for tag in plan.sources}
    bench = prepare(scoring, used, [plan.target for plan in plans])
    for plan in plans:
        print(table(plan), flush=True)
    for note in bench.notes:
        print(note, flush=True)
    return _vote(arguments, plans, scoring, bench, workers)


def _plans(arguments: Namespace) -> list[SourcePlan]:
    """The sources and weights of each target."""
    targets = locale_list(arguments.target_languages)
    if targets is None:
        return [plan_from(arguments)]
    if len(set(targets)) < len(targets):
        raise UserError(f"a target is named twice in {', '.join(targets)}")
    plans = []
    for target in targets:
        own = Namespace(**vars(arguments))
        own.target_lang = target
        sources = locale_list(arguments.locales)
        # Of sources that are named for several targets, each target takes the others.
        own.locales = sources and [tag for tag in sources if tag != target]
        plans.append(plan_from(own))
    return plans


def _weightings(arguments: Namespace, plan: SourcePlan) -> dict[str, dict[str, float]]:
    if arguments.preweights is None:
        return {plan.preweight: plan.weights}
    return {name: reweighted(plan, name, arguments.seed) for name in dict.fromkeys(arguments.preweights)}


def _vote(arguments: Namespace, plans: Sequence[SourcePlan], scoring: "Scoring", bench: "Bench", workers: Any) -> int:
    from mu_lightning.approaches.tasks import PanelTask
    from mu_lightning.results.results import show
    from mu_lightning.utilities.progress import progress

    votes = [arguments.voting_method] if arguments.voting_method else arguments.voting_methods or list(VOTES)
    tasks: dict[str, PanelTask] = {}
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for plan in plans:
        cells[plan.target] = _cells(arguments, plan, votes)
        asked = {name: (cell["vote"], cell["weights"]) for name, cell in cells[plan.target].items()}
        tasks[plan.target] = PanelTask(plan.target, plan.sources, asked, with_members=True)
    by_target = {plan.target: plan for plan in plans}
    failed = []
    found = workers.outcomes(bench, list(tasks.values()))
    for task, outcome in progress(found, len(tasks), "targets") if len(tasks) > 1 else found:
        if outcome.error:
            if len(tasks) == 1:
                raise UserError(outcome.error)
            failed.append(f"{task.locale}: {outcome.error}")
            continue
        plan = by_target[task.locale]
        results = _results(plan, cells[task.locale], outcome.value, scoring.split)
        print("\n" + show(results), flush=True)
        if arguments.output_dir is not None:
            folder = arguments.output_dir if arguments.target_lang else arguments.output_dir / task.locale
            _write(arguments, folder, plan, results, task, outcome.value, scoring, bench)
            print(f"\nscores: {folder / 'results.json'}", flush=True)
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


def _cells(arguments: Namespace, plan: SourcePlan, votes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name in the results -> what is scored: every vote under every weighting, but a vote without weights once."""
    weightings = _weightings(arguments, plan)
    cells = {}
    for preweight, weights in weightings.items():
        for vote in votes:
            weighs = vote != "majority"
            name = f"ensemble, {vote}" + (f", {preweight} weights" if len(weightings) > 1 and weighs else "")
            cells[name] = {
                "experiment_type": "ensemble",
                "vote": vote,
                "preweight": preweight if weighs else None,
                "sources": list(plan.sources),
                "weights": weights,
                "num_languages": len(plan.sources),
                "seed": arguments.seed,
            }
    return cells


def _results(plan: SourcePlan, cells: dict[str, dict[str, Any]], found: "Scored", split: str) -> "list[Result]":
    from mu_lightning.results.results import Result

    results = [
        Result(name, found.scores[name], details={"split": split, "weights": cell["weights"], "cell": cell})
        for name, cell in cells.items()
    ]
    for name in plan.sources:
        cell = {"experiment_type": "source", "sources": [name], "num_languages": 1}
        results.append(Result(f"source {name}", found.scores[name], details={"split": split, "cell": cell}))
    return results


def _write(
    arguments: Namespace,
    folder: Path,
    plan: SourcePlan,
    results: "list[Result]",
    task: Any,
    found: "Scored",
    scoring: "Scoring",
    bench: "Bench",
) -> None:
    from dataclasses import asdict

    from mu_lightning.results.cells import write_cell

    models = models_from(arguments) or {}
    write_cell(
        folder,
        results,
        {"target": plan.target, "corpus": scoring.corpus, "split": scoring.split, "plan": plan.details()},
        cost={
            "seconds": max(found.seconds.values()),
            "peak_bytes": found.peak_bytes,
            "model_bytes": max(found.model_bytes.values()),
        },
        recipe={
            "verb": "ensemble",
            "scoring": scoring.plain(),
            "models": {name: str(models[name]) for name in plan.sources},
            "task": {"kind": "panel", **asdict(task)},
        },
        fingerprints={
            "rows": {plan.target: bench.fingerprints["rows"][plan.target]},
            "models": {name: bench.fingerprints["models"][name] for name in plan.sources},
        },
    )
