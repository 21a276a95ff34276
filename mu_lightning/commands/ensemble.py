"""The command `ensemble`: votes of source models on targets, weighted by typology."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from mu_lightning.commands.tuning import add_tune_argument, pool_of, refuse_chosen, tuned
from mu_lightning.locales import locale_list
from mu_lightning.models.votes import VOTES
from mu_lightning.typology.plan import SourcePlan, reweighted, table
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved

if TYPE_CHECKING:
    from mu_lightning.approaches.base import Cell
    from mu_lightning.approaches.evaluation_context import EvaluationContext, Scoring
    from mu_lightning.approaches.tasks import BuildTask, Outcome, Scored
    from mu_lightning.results.results import Result

NUM_LANGUAGES = 5


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "ensemble",
        "Evaluates ensembles of source models on one or several targets. Logits are computed once and shared "
        "by all votes and weight sources. Prints a table of votes and single sources for each target.",
    )
    add_source_arguments(result, num_languages=None)
    add = result.section("sources and weights")
    add(
        "--target-languages",
        type=str,
        nargs="+",
        default=None,
        help="several target locales, separated by commas or spaces",
    )
    add("--preweights", type=PREWEIGHT, nargs="+", default=None, help="several weight sources to compare")
    add = result.section("votes")
    add("--voting-method", type=VOTE, default=None, help=f"vote: {VOTE.names}")
    add("--voting-methods", type=VOTE, nargs="+", default=None, help="several votes (default: all of them)")
    add_tune_argument(add)
    add_scoring_arguments(result)
    add_worker_arguments(result)
    result.add_argument(
        "--output-dir",
        type=Path | None,
        default=None,
        help="output folder for scores and predictions, with a subfolder for each of several targets; must not exist",
    )
    return result


def run(argv: list[str]) -> int:
    """Evaluates and prints the votes; returns the exit status: 1 if one of several targets failed.

    Raises:
        UserError: see `plan_from`; an invalid source; label maps or tokenizers that differ; an existing output.
    """
    arguments = parser().parse_args(argv)
    for one, several, what in (
        ("voting_method", "voting_methods", "vote"),
        ("target_lang", "target_languages", "target"),
    ):
        if arguments[one] and arguments[several]:
            flags = [f"--{name.replace('_', '-')}" for name in (one, several)]
            raise UserError(f"{flags[0]} names one {what} and {flags[1]} several: give one of the two")
    if arguments.tune:
        refuse_chosen(arguments, parser().get_defaults())
    elif arguments.num_languages is None:
        arguments.num_languages = NUM_LANGUAGES
    with reserved(arguments.output_dir):
        return _ensemble(arguments)


def _ensemble(arguments: Namespace) -> int:
    plans = _plans(arguments)
    from mu_lightning.commands.arguments import scoring_from, workers_from

    scoring, workers = scoring_from(arguments), workers_from(arguments)
    cells = _cells(arguments, plans, scoring)
    for plan in plans:
        print(table(plan), flush=True)
    return _score(arguments, cells, models_from(arguments) or {}, workers)


def _plans(arguments: Namespace) -> list[SourcePlan]:
    """Returns the source plans of all targets."""
    targets = locale_list(arguments.target_languages)
    if targets is None:
        return [_plan(arguments)]
    if len(set(targets)) < len(targets):
        raise UserError(f"a target is named twice in {', '.join(targets)}")
    plans = []
    for target in targets:
        own = Namespace(**vars(arguments))
        own.target_lang = target
        sources = locale_list(arguments.locales)
        # A target that is among the given sources is excluded for itself.
        own.locales = sources and [tag for tag in sources if tag != target]
        plans.append(_plan(own))
    return plans


def _plan(arguments: Namespace) -> SourcePlan:
    """The sources of one target and their weights; with ``--tune`` those to choose from."""
    if not arguments.tune or arguments.target_lang is None:
        return plan_from(arguments)
    return pool_of(arguments, "vote", models_from(arguments) or {})


def _cells(arguments: Namespace, plans: Sequence[SourcePlan], scoring: "Scoring") -> "list[Cell]":
    """Returns the cells: all votes and weight sources for each target, then single sources."""
    from mu_lightning.approaches.base import Cell
    from mu_lightning.approaches.ensemble import Ensemble
    from mu_lightning.approaches.single import Single
    from mu_lightning.experiments.nxn import problem_of

    votes = [arguments.voting_method] if arguments.voting_method else arguments.voting_methods or list(VOTES)
    found: dict[str, Cell] = {}
    for plan in plans:
        problem = replace(problem_of(scoring, plan.target), sources=plan.sources)
        if arguments.tune:
            cell = Cell(problem, tuned(arguments, "vote"), arguments.seed, plan)
            found[cell.identity.digest] = cell
        for preweight in () if arguments.tune else dict.fromkeys(arguments.preweights or [plan.preweight]):
            weighed = (
                plan
                if preweight == plan.preweight
                else replace(plan, weights=reweighted(plan, preweight, arguments.seed), preweight=preweight)
            )
            manual = ",".join(f"{tag}={weight}" for tag, weight in plan.weights.items())
            for vote in votes:
                approach = Ensemble(
                    num_languages=None,
                    preweight=preweight,
                    weights=manual if preweight == "manual" else None,
                    typology=plan.settings,
                    vote_method=vote,
                )
                cell = Cell(problem, approach, arguments.seed, weighed)
                found.setdefault(cell.identity.digest, cell)
        for tag in plan.sources:
            cell = Cell(problem, Single(tag), arguments.seed)
            found[cell.identity.digest] = cell
    return list(found.values())


def _score(arguments: Namespace, cells: "Sequence[Cell]", models: Mapping[str, Path | str], workers: Any) -> int:
    from mu_lightning.approaches.evaluation_context import prepare, scoring_of, with_dev
    from mu_lightning.approaches.tasks import BuildTask
    from mu_lightning.approaches.tuning.tune import tuning_table
    from mu_lightning.experiments.sweep import panels
    from mu_lightning.results.results import show
    from mu_lightning.utilities.progress import progress

    targets = list(dict.fromkeys(cell.target for cell in cells))
    used = {tag: models[tag] for cell in cells for tag in cell.sources}
    context = prepare(scoring_of(cells[0].problem), used, targets)
    chosen = [cell for cell in cells if cell.approach.vote(cell) is None]
    context = with_dev(context, cells[0].problem, list(dict.fromkeys(tag for one in chosen for tag in one.needs.dev)))
    for note in context.notes:
        print(note, flush=True)
    tasks = [BuildTask(cell, Path(), cell.models) for cell in chosen]  # votes keep nothing in a folder
    tuned_cells = {task.cell.target: (task.cell, outcome) for task, outcome in _outcomes(workers, context, tasks)}
    work = list(panels([cell for cell in cells if cell not in chosen]))
    owners = {task.locale: own for task, own in work}
    failed = []
    found = workers.outcomes(context, [task for task, _ in work])
    for task, outcome in progress(found, len(work), "targets") if len(work) > 1 else found:
        parts = [*([tuned_cells[task.locale]] if task.locale in tuned_cells else [])]
        parts += [(cell, outcome) for cell in owners[task.locale]]
        errors = [one.error for _, one in parts if one.error]
        if errors:
            if len(work) == 1:
                raise UserError(errors[0])
            failed.append(f"{task.locale}: {errors[0]}")
            continue
        results = [_result(cell, one.value) for cell, one in parts]
        for result in results:
            if "tuning" in result.details:
                print("\n" + tuning_table(task.locale, result.details["tuning"]), flush=True)
        print("\n" + show(results), flush=True)
        if arguments.output_dir is not None:
            folder = arguments.output_dir if arguments.target_lang else arguments.output_dir / task.locale
            _write(folder, [cell for cell, _ in parts], results, outcome.value, used, context)
            print(f"\nscores: {folder / 'results.json'}", flush=True)
    for line in failed:
        print(f"failed: {line}")
    return 1 if failed else 0


def _outcomes(
    workers: Any, context: "EvaluationContext", tasks: "list[BuildTask]"
) -> "list[tuple[BuildTask, Outcome]]":
    return list(workers.outcomes(context, tasks)) if tasks else []


def _result(cell: "Cell", found: "Scored") -> "Result":
    from mu_lightning.results.results import Result

    weights = {"weights": cell.weights} if cell.plan else {}
    return Result(cell.identity, found.scores[cell.key], found.supervision, {**weights, **_told(found)})


def _told(found: "Scored") -> dict[str, Any]:
    return {key: value for key, value in found.details.items() if key != "build_seconds"}


def _write(
    folder: Path,
    cells: "Sequence[Cell]",
    results: "list[Result]",
    found: "Scored",
    models: Mapping[str, Path | str],
    context: "EvaluationContext",
) -> None:
    from mu_lightning.results.cells import write_cell
    from mu_lightning.results.identity import plain

    problem, sources = cells[0].problem, cells[0].sources
    write_cell(
        folder,
        results,
        cost={
            "seconds": max(found.seconds.values()),
            "peak_bytes": found.peak_bytes,
            "model_bytes": max(found.model_bytes.values()),
        },
        recipe={
            "command": "ensemble",
            "problem": plain(problem),
            "models": {name: str(models[name]) for name in sources},
        },
        fingerprints={
            "rows": {problem.target: context.fingerprints["rows"][problem.target]},
            "models": {name: context.fingerprints["models"][name] for name in sources},
        },
    )
