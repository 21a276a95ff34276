"""The verb `merge`: one model for a target from its neighbours' source models, without training."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from mu_lightning.errors import UserError
from mu_lightning.merging.modes import DEFAULT_METHOD, resolve
from mu_lightning.merging.registry import METHODS
from mu_lightning.typology.plan import SourcePlan, table
from mu_lightning.verbs.arguments import add_source_arguments, models_from, plan_from

if TYPE_CHECKING:
    from mu_lightning.merging.folder_plan import FolderPlan

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
    add("--list-methods", action="store_true", help="print every method with its parameters and paper")
    return result


def run(argv: list[str]) -> int:
    """Merges and prints where the result is; returns the exit status.

    Raises:
        UserError: as of `plan_from` and `merge_folders`, or `--mode` contradicts another argument.
    """
    arguments = parser().parse_args(argv)
    if arguments.list_methods:
        from mu_lightning.merging.listing import list_methods

        print(list_methods())
        return 0
    arguments.preweight, method = resolve(arguments.mode, arguments.method, arguments.preweight)
    sources = plan_from(arguments)
    output = arguments.output or Path("merged") / f"{method}_{sources.preweight}_{sources.target}"
    print(table(sources))
    from mu_lightning.merging.streaming import run_plan

    plan = _folder_plan(arguments, sources, method, output)
    if arguments.dry_run:
        print(plan.describe())
        return 0
    run_plan(plan, details=_details(arguments, sources))
    print(f"merged model: {output}")
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


def _folder_plan(arguments: Namespace, sources: SourcePlan, method: str, output: Path) -> "FolderPlan":
    from mu_lightning.merging.folder_plan import plan_folders
    from mu_lightning.merging.hub import local_folder

    models = models_from(arguments) or {}
    return plan_folders(
        method,
        {tag: local_folder(models[tag]) for tag in sources.sources},
        sources.weights,
        output,
        base=None if arguments.base_model is None else local_folder(arguments.base_model),
        parameters=parse_parameters(arguments.parameters),
        dtype=arguments.dtype,
        seed=arguments.seed,
        device=arguments.device,
    )


def _details(arguments: Namespace, sources: SourcePlan) -> dict[str, Any]:
    models = models_from(arguments) or {}
    origins = {tag: model for tag in sources.sources if isinstance(model := models[tag], str)}
    if arguments.base_model is not None and not Path(arguments.base_model).exists():
        origins["base"] = arguments.base_model
    plan = sources.details()
    return {
        "mode": arguments.mode or f"{sources.preweight}, {arguments.method or DEFAULT_METHOD}",
        "target": sources.target,
        "preweight": sources.preweight,
        "similarities": sources.similarities,
        "origins": origins,
        "typology": plan["settings"],
    }
