"""The verb `merge`: one model for a target from its neighbours' source models, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from mu_lightning.errors import UserError
from mu_lightning.merging.modes import DEFAULT_METHOD, resolve, with_dropping
from mu_lightning.merging.registry import METHODS
from mu_lightning.resources import resource
from mu_lightning.typology.plan import table
from mu_lightning.verbs.arguments import add_source_arguments, models_from, plan_from

if TYPE_CHECKING:
    from mu_lightning.merging.folder_plan import FolderPlan
    from mu_lightning.merging.method import Method

ENGINES = ("mu-lightning", "auto-merge-llm")
DTYPES = ("float32", "float16", "bfloat16", "float64")


def parser() -> ArgumentParser:
    """The verb's arguments."""
    result = ArgumentParser(
        prog="mu-lightning merge",
        description="Merges the source models of a target's neighbours into one model folder that transformers loads.",
    )
    add = result.add_argument
    add("--config", action="config", help="a YAML file with any of these arguments")
    add_source_arguments(result)
    result.set_defaults(preweight=None)
    add("--method", choices=tuple(METHODS), default=None, help=f"the merge method (default: {DEFAULT_METHOD})")
    add(
        "--mode",
        type=str | None,
        default=None,
        help="weights and method in one word: similarity (uriel, linear), average (equal, linear), manual, shuffled, "
        "or a method's name",
    )
    add(
        "--parameters",
        type=str | dict[str, Any] | None,
        default=None,
        help="of the method: density=0.2,scaling=1 (see --list-methods)",
    )
    add("--base-model", type=str | None, default=None, help="folder or hub id that the sources started from")
    add("--output", type=Path | None, default=None, help="folder to write (default: merged/METHOD_PREWEIGHT_TARGET)")
    add("--corpus", type=str | None, default=None, help="of --models-dir: only models of this corpus")
    add("--base", type=str | None, default=None, help="of --models-dir: only models of this base")
    add("--dtype", choices=DTYPES, default=None, help="of the merged model (default: the sources')")
    add("--device", type=str | None, default=None, help="where to compute: cpu or cuda")
    add("--dry-run", action="store_true", help="validate from headers and configs alone, print the plan, write nothing")
    add("--recipe", type=Path | None, default=None, help="a YAML recipe, ours or mergekit's, instead of a target")
    add(
        "--param-value-mask-rate",
        type=float | None,
        default=None,
        help="DARE inside task_arithmetic and ties: the chance of a task vector's element to be dropped",
    )
    add(
        "--push-to-hub",
        type=str | None,
        default=None,
        help="hub id to upload the merged model to: ORGANISATION/NAME",
    )
    add("--engine", choices=ENGINES, default=ENGINES[0], help="whose arithmetic: ours, or that library's if installed")
    add("--list-methods", action="store_true", help="print every method with its parameters and paper")
    return result


def run(argv: list[str]) -> int:
    """Merges and prints where the result is; returns the exit status.

    Raises:
        UserError: as of `plan_from`, `read_recipe` and `merge_folders`, or arguments that contradict each other.
    """
    arguments = parser().parse_args(argv)
    if arguments.list_methods:
        from mu_lightning.merging.listing import list_methods

        print(list_methods())
        return 0
    if arguments.push_to_hub and not arguments.dry_run:
        from mu_lightning.merging.hub import check_upload

        check_upload(arguments.push_to_hub)
    plan, details = _from_recipe(arguments) if arguments.recipe else _from_target(arguments)
    if arguments.dry_run:
        print(plan.describe())
        return 0
    if plan.job.headless and not arguments.recipe:
        print(f"averaged, as the base lacks them: {', '.join(sorted(plan.job.headless))}")
    from mu_lightning.merging.streaming import run_plan

    run_plan(plan, details=details)
    print(f"merged model: {plan.output}")
    if arguments.push_to_hub:
        from mu_lightning.merging.hub import upload

        print(f"uploaded to: {upload(plan.output, arguments.push_to_hub)}")
    return 0


def parse_parameters(given: str | dict[str, Any] | None) -> dict[str, Any]:
    """A method's parameters from the command line or a YAML file.

    >>> parse_parameters("density=0.2,scope=tensor")
    {'density': '0.2', 'scope': 'tensor'}
    """
    if not isinstance(given, str):
        return dict(given or {})
    pairs = [part.partition("=") for part in given.split(",")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise UserError(f"--parameters '{given}' is not of the form density=0.2,scaling=1")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _from_target(arguments: Namespace) -> "tuple[FolderPlan, dict[str, Any]]":
    """The merge of a target's neighbours, and what its card tells of it."""
    arguments.preweight, method = resolve(arguments.mode, arguments.method, arguments.preweight)
    parameters = parse_parameters(arguments.parameters)
    if arguments.param_value_mask_rate is not None:
        method, parameters = with_dropping(method, arguments.param_value_mask_rate, parameters)
    sources = plan_from(arguments)
    print(table(sources))
    from mu_lightning.merging.folder_plan import plan_folders
    from mu_lightning.merging.hub import local_folder

    models = models_from(arguments) or {}
    plan = plan_folders(
        _with_engine(arguments, method),
        {tag: local_folder(models[tag]) for tag in sources.sources},
        sources.weights,
        arguments.output or Path("merged") / f"{method}_{sources.preweight}_{sources.target}",
        base=None if arguments.base_model is None else local_folder(arguments.base_model),
        parameters=parameters,
        dtype=arguments.dtype,
        seed=arguments.seed,
        device=arguments.device,
    )
    details = {
        "mode": arguments.mode or f"{sources.preweight}, {method}",
        "target": sources.target,
        "preweight": sources.preweight,
        "similarities": sources.similarities,
        "origins": _origins({tag: models[tag] for tag in sources.sources}, arguments.base_model),
        "typology": sources.details()["settings"],
        "engine": arguments.engine,
    }
    return plan, details


def _from_recipe(arguments: Namespace) -> "tuple[FolderPlan, dict[str, Any]]":
    """The merge that a recipe asks for, and what its card tells of it."""
    for name in ("target_lang", "method", "mode", "parameters", "preweight", "base_model", "param_value_mask_rate"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--recipe and --{name.replace('_', '-')} exclude each other: the recipe says it all")
    from mu_lightning.merging.folder_plan import plan_folders
    from mu_lightning.merging.hub import local_folder
    from mu_lightning.merging.recipes import read_recipe

    recipe = read_recipe(arguments.recipe)
    plan = plan_folders(
        _with_engine(arguments, recipe.method),
        {name: local_folder(model) for name, model in recipe.models.items()},
        recipe.weights,
        arguments.output or Path("merged") / arguments.recipe.stem,
        base=None if recipe.base is None else local_folder(recipe.base),
        parameters=recipe.parameters,
        overrides=recipe.overrides,
        dtype=arguments.dtype or recipe.dtype,
        seed=recipe.seed,
        device=arguments.device,
    )
    print(plan.describe())
    return plan, {"mode": "recipe", "origins": _origins(recipe.models, recipe.base), "engine": arguments.engine}


def _with_engine(arguments: Namespace, method: str) -> "str | Method":
    if arguments.engine == ENGINES[0]:
        return method
    from mu_lightning.merging.auto_merge_llm import through_library

    return through_library(method)


def _origins(models: Mapping[str, Path | str], base: str | None) -> dict[str, str]:
    """The hub ids among the models: a folder on this machine goes by its name alone."""
    every = dict(models) | ({} if base is None else {"base": base})
    return {name: str(model) for name, model in every.items() if not resource(model).is_dir()}
