"""The command `nxn`: every source model on every locale."""

from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.commands.arguments import (
    add_models_arguments,
    add_scoring_arguments,
    add_worker_arguments,
    models_from,
)
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale, locale_list
from mu_lightning.utilities.locks import locked
from mu_lightning.utilities.tables import counted


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "nxn",
        "Scores every source model on every locale's split and writes the matrix with all predictions. "
        "Run again with the same --output-dir it goes on where it stopped, with what models have come since.",
    )
    add = result.add_argument
    add("--sources", type=str, nargs="+", default=None, help="the rows: locales with a model (default: all of them)")
    add("--locales", type=str, nargs="+", default=None, help="the columns (default: every locale of the corpus)")
    add_models_arguments(result)
    add_scoring_arguments(result)
    add_worker_arguments(result)
    add("--output-dir", type=Path | None, default=None, help="the matrix's folder (default: runs/nxn_CORPUS_SPLIT)")
    return result


def run(argv: list[str]) -> int:
    """Makes or completes the matrix; returns the exit status.

    Raises:
        UserError: what `plan_nxn` raises, or a row failed.
    """
    arguments = parser().parse_args(argv)
    for tag in (*(locale_list(arguments.locales) or ()), *(locale_list(arguments.sources) or ())):
        locale(tag)
    models = _models(arguments)
    from mu_lightning.commands.arguments import scoring_from, workers_from
    from mu_lightning.experiments.nxn import plan_nxn, run_nxn
    from mu_lightning.results.store import MATRIX

    workers = workers_from(arguments)
    scoring = scoring_from(arguments)
    columns = locale_list(arguments.locales)
    folder = arguments.output_dir or Path("runs") / f"nxn_{scoring.corpus}_{scoring.split}"
    with locked(folder):
        plan = plan_nxn(scoring, models, None if columns is None else tuple(columns), folder)
        print(
            f"{counted(len(models), 'model')} on {counted(len(plan.locales), 'locale')} of {scoring.corpus} "
            f"({scoring.split}), in {folder}"
        )
        matrix = run_nxn(plan, workers)
    for tag in matrix.locales:
        scores = sorted(matrix.column(tag).items(), key=lambda item: -item[1])
        print(f"{tag}: " + ", ".join(f"{source} {accuracy:.3f}" for source, accuracy in scores[:4]))
    print(f"matrix: {folder / MATRIX}")
    return 0


def _models(arguments: Namespace) -> dict[str, Path | str]:
    from mu_lightning.utilities.errors import UserError

    models = models_from(arguments) or {}
    wanted = locale_list(arguments.sources)
    if wanted is None:
        return models
    missing = [tag for tag in wanted if tag not in models]
    if missing:
        raise UserError(f"no source model for {', '.join(missing)}; available: {', '.join(sorted(models))}")
    return {tag: models[tag] for tag in dict.fromkeys(wanted)}
