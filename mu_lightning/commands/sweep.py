"""The command `sweep`: runs a grid of problems, approaches and seeds."""

import json
from argparse import SUPPRESS
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from mu_lightning.commands.arguments import (
    add_models_arguments,
    add_scoring_arguments,
    add_typology_arguments,
    add_worker_arguments,
    corpus_from,
    models_from,
    settings_from,
)
from mu_lightning.commands.names import BASELINE, METHOD, PREWEIGHT, TEXTS, VOTE
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.commands.tuning import add_tune_argument
from mu_lightning.experiments.presets import BASELINES
from mu_lightning.locales import locale, locale_list
from mu_lightning.settings import EMBEDDED_BASE, DataSettings, GuardSettings, ModelSettings
from mu_lightning.utilities.adapters.parser_arguments import arguments
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.locks import locked
from mu_lightning.utilities.resources import resource
from mu_lightning.utilities.yaml_files import read_yaml

if TYPE_CHECKING:
    from mu_lightning.experiments.grid import Grid


def parser() -> OneLineErrors:
    """Builds the parser."""
    from mu_lightning.approaches.registry import APPROACHES

    result = command_parser(
        "sweep",
        "Runs a grid of targets, approaches and seeds; each cell is saved separately. Source models are read from "
        "--models-dir, or trained once per seed. Existing cells are skipped, trainings resume from checkpoints, "
        "failed cells are recorded; the status is 1 if any failed.",
    )
    add = result.add_argument
    add("--target-languages", type=str, nargs="+", default=None, help="target locales, or all")
    add(
        "--approaches",
        type=str | dict[str, Any],
        nargs="+",
        default=[],
        help="entries with 'approach' and parameters, where lists are expanded: "
        + "; ".join(f"{name}: {kind.summary}" for name, kind in APPROACHES.items()),
    )
    add(
        "--methods",
        type=str | dict[str, Any],
        nargs="+",
        default=[],
        help=f"merge methods, with optional parameters: {METHOD.names}",
    )
    add(
        "--preweights",
        type=PREWEIGHT,
        nargs="+",
        default=["uriel"],
        help=f"weight sources: {PREWEIGHT.names}",
    )
    add("--modes", type=str, nargs="+", default=[], help=SUPPRESS)
    add("--num-languages", type=int, nargs="+", default=[5], help="numbers of sources")
    add("--voting-methods", type=VOTE, nargs="+", default=[], help=f"votes of ensembles: {VOTE.names}")
    add_tune_argument(add)
    add(
        "--baselines",
        type=BASELINE,
        nargs="+",
        default=[],
        help="; ".join(f"{name}: {meaning}" for name, meaning in BASELINES.items()),
    )
    seeds = "random seeds, for training, stochastic methods and shuffled weights"
    add("--seeds", type=int, nargs="+", default=[0], help=seeds)
    add("--sources", type=str, nargs="+", default=None, help="candidate sources (default: all)")
    add_typology_arguments(result)
    add_models_arguments(result)
    result.set_defaults(models_dir=None)
    add("--base-model", type=str | None, default=None, help=SUPPRESS)
    add("--joint-model", type=str | None, default=None, help="model folder of the baseline joint")
    add("--fisher-data-mode", type=TEXTS, default=None, help=f"text for methods that need it: {TEXTS.names}")
    add(
        "--num-fisher-examples",
        type=int,
        default=100,
        help="number of train utterances per locale, for methods that need text",
    )
    add_scoring_arguments(result)
    add("--train-batch-size", type=int, default=DataSettings.batch_size, help="train batch size")
    add("--limit-train", type=int | None, default=None, help="maximum number of train utterances per locale")
    add("--trainer", type=dict[str, Any], default={}, help="arguments of Lightning's Trainer, for training")
    result.add_class_arguments(ModelSettings, "model", skip={"base"})
    result.add_class_arguments(GuardSettings, "guard")
    add_worker_arguments(result)
    add("--output-dir", type=Path | None, default=None, help="results folder (default: runs/sweep_CORPUS_SPLIT)")
    add("--locales", type=str, nargs="+", default=None, help="restrict to these targets")
    add("--max-locales", type=int | None, default=None, help="maximum number of targets")
    add("--start-from", type=str | None, default=None, help="skip targets before this one: tag or number")
    add("--list-modes", action="store_true", help="list the modes")
    add("--list-locales", action="store_true", help="list the targets")
    add("--dry-run", action="store_true", help="validate the grid, print the cells, run nothing")
    return result


def run(argv: list[str]) -> int:
    """Runs the grid; returns the exit status: 1 if a cell failed.

    Raises:
        UserError: see `plan_sweep`; or an unknown key of the grid.
    """
    argv = _with_grids(argv)
    own = parser()
    arguments = own.parse_args(argv)
    if arguments.list_modes:
        from mu_lightning.experiments.presets import list_modes

        print(list_modes())
        return 0
    from mu_lightning.commands.arguments import scoring_from, start_workers, workers_from

    if not (arguments.dry_run or arguments.list_locales):
        start_workers(arguments)
    scoring = scoring_from(arguments)
    targets = _targets(arguments, scoring.open().locales)
    if arguments.list_locales:
        print("\n".join(f"{number:>2}  {tag}  {locale(tag).name}" for number, tag in enumerate(targets)))
        return 0
    from mu_lightning.experiments.sweep import plan_sweep, run_sweep
    from mu_lightning.experiments.sweep_folder import summary

    workers = workers_from(arguments)
    given = arguments.models_dir is not None or arguments.models_csv is not None
    models = models_from(arguments) if given else None
    folder = arguments.output_dir or Path("runs") / f"sweep_{scoring.corpus}_{scoring.split}"
    grid = _grid(own.instantiate(arguments), targets, models)
    with nullcontext() if arguments.dry_run else locked(folder):
        sweep = plan_sweep(grid, folder, models=models, joint_model=arguments.joint_model)
        print(sweep.describe(), flush=True)
        if arguments.dry_run:
            print("\n".join(_line(cell) for cell in sweep.cells))
            return 0
        failures = run_sweep(sweep, workers)
    print("\n" + summary(sweep))
    for cell in failures:
        print(f"failed: {sweep.place(cell) / 'error.json'}")
    print(f"results: {folder}")
    return 1 if failures else 0


def _line(cell: Any) -> str:
    sources = f": {', '.join(cell.sources)}" if cell.sources else ""
    return f"{cell.target}/{cell.key}  {cell.identity.label}, seed {cell.seed}{sources}"


def _with_grids(argv: list[str]) -> list[str]:
    """Replaces each ``--config`` by the content of the file, where lists may be single values."""
    found, words = [], iter(argv)
    for word in words:
        if word == "--config" or word.startswith("--config="):
            word = f"--config={json.dumps(_grid_file(resource(word.partition('=')[2] or next(words, ''))))}"
        found.append(word)
    return found


def _grid_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no grid at {path}")
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a grid: expected keys such as target_languages and methods")
    actions = {action.dest: action for action in arguments(parser()) if action.dest not in ("help", "config")}
    for key, value in content.items():
        if key not in actions:
            # The message of the parser has no suggestions.
            raise unknown(f"key of the grid {path}", str(key), actions)
        if actions[key].nargs == "+" and value is not None and not isinstance(value, list):
            content[key] = [value]
    return content


def _targets(arguments: Namespace, available: tuple[str, ...]) -> list[str]:
    """Returns the targets, after filters."""
    wanted = locale_list(arguments.target_languages)
    if wanted is None:
        wanted = locale_list(arguments.locales) or list(available)
    elif wanted == ["all"]:
        wanted = list(available)
    for tag in (*wanted, *(locale_list(arguments.locales) or ())):
        if tag not in available:
            raise unknown(f"locale of the corpus {arguments.corpus}", tag, available)
    only = locale_list(arguments.locales)
    if only is not None:
        outside = [tag for tag in only if tag not in wanted]
        if outside:
            raise UserError(f"{', '.join(outside)} not among the grid's targets: {', '.join(wanted)}")
        wanted = [tag for tag in wanted if tag in only]
    start = arguments.start_from
    if start is not None:
        place = int(start) if start.isdigit() else wanted.index(start) if start in wanted else -1
        if not 0 <= place < len(wanted):
            raise UserError(f"--start-from {start}: the targets are {', '.join(wanted)}, numbered from 0")
        wanted = wanted[place:]
    if arguments.max_locales is not None:
        if arguments.max_locales < 1:
            raise UserError(f"--max-locales must be at least 1, not {arguments.max_locales}")
        wanted = wanted[: arguments.max_locales]
    return wanted


def _grid(arguments: Namespace, targets: list[str], models: dict[str, Path | str] | None) -> "Grid":
    from mu_lightning.approaches.base import Training
    from mu_lightning.approaches.problem import Problem
    from mu_lightning.experiments.grid import Grid
    from mu_lightning.experiments.presets import Request, approaches_of

    training = Training(arguments.model, arguments.trainer, arguments.guard)
    request = Request(
        approaches=[entry if isinstance(entry, str) else dict(entry) for entry in arguments.approaches],
        methods=[entry if isinstance(entry, str) else dict(entry) for entry in arguments.methods],
        preweights=arguments.preweights,
        modes=arguments.modes,
        num_languages=arguments.num_languages,
        votes=arguments.voting_methods,
        baselines=arguments.baselines,
        typology=settings_from(arguments),
        text=arguments.fisher_data_mode,
        num_examples=arguments.num_fisher_examples,
        training=training,
        given=models is not None,
        joint_given=arguments.joint_model is not None,
        tune=arguments.tune,
    )
    approaches = approaches_of(request)
    sources = locale_list(arguments.sources)
    problem = Problem(
        target=targets[0] if targets else "",
        data=_data(arguments),
        base=_base(arguments, models, sources, any(_needs_base(approach) for approach in approaches)),
        sources=None if sources is None else tuple(sources),
        split=arguments.split,
    )
    problems = [replace(problem, target=target) for target in targets]
    return Grid(problems, approaches, arguments.seeds, request.alone, request.source_training)


def _data(arguments: Namespace) -> DataSettings:
    return DataSettings(
        **corpus_from(arguments).corpus_values(),
        batch_size=arguments.train_batch_size,
        eval_batch_size=arguments.batch_size,
        max_length=arguments.max_length,
        limit_train=arguments.limit_train,
    )


def _needs_base(approach: Any) -> bool:
    return approach.name == "tuned" or bool(getattr(approach, "needs_base", False))


def _base(arguments: Namespace, models: dict[str, Path | str] | None, sources: list[str] | None, needed: bool) -> str:
    """Returns the given base, or the one in the training details of the sources."""
    given = arguments.base_model or arguments.base
    if given is not None and (models is None or arguments.base_model or "/" in given or resource(given).is_dir()):
        return str(given)
    if models is None:
        return str(EMBEDDED_BASE)
    from mu_lightning.merging.folders.hub_folders import local_folder
    from mu_lightning.results.model_records import recorded_base

    missing = [tag for tag in sources or () if tag not in models]
    if missing:
        raise UserError(f"no source model for {', '.join(missing)}; available: {', '.join(sorted(models))}")
    try:
        return recorded_base({tag: local_folder(models[tag]) for tag in sources or models})
    except UserError:
        if needed:
            raise
        return ""  # unknown, and not needed
