"""The command `nxn`: evaluates all source models on all locales."""

from pathlib import Path
from typing import TYPE_CHECKING

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
from mu_lightning.utilities.tables import counted, text_table

if TYPE_CHECKING:
    from mu_lightning.results.matrix import NByN


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "nxn",
        "Evaluates all source models on all locales and writes the matrix with all predictions. "
        "Run again with the same --output-dir, it resumes and includes new models.",
    )
    add = result.add_argument
    add(
        "--sources",
        type=str,
        nargs="+",
        default=None,
        help="source locales, the rows (default: all locales with a model)",
    )
    add(
        "--locales",
        type=str,
        nargs="+",
        default=None,
        help="target locales, the columns (default: all locales of the corpus)",
    )
    add_models_arguments(result)
    add_scoring_arguments(result)
    add_worker_arguments(result)
    add("--output-dir", type=Path | None, default=None, help="output folder (default: runs/nxn_CORPUS_SPLIT)")
    return result


def run(argv: list[str]) -> int:
    """Computes or completes the matrix; returns the exit status.

    Raises:
        UserError: see `plan_nxn`; or a failed row.
    """
    arguments = parser().parse_args(argv)
    for tag in (*(locale_list(arguments.locales) or ()), *(locale_list(arguments.sources) or ())):
        locale(tag)
    models = _models(arguments)
    from mu_lightning.commands.arguments import scoring_from, start_workers, workers_from

    start_workers(arguments)
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
    print(f"\n{_table(matrix)}\n\nmatrix: {folder / MATRIX}")
    return 0


def _table(matrix: "NByN") -> str:
    """Best model of another language for each locale, beside the locale's own and the mean."""
    import numpy as np

    rows = []
    for tag in matrix.locales:
        found = matrix.column(tag)
        others = {source: accuracy for source, accuracy in found.items() if source != tag}
        best = max(others, key=lambda source: others[source], default=None)
        own = f"{found[tag]:.3f}" if tag in found else ""
        if best is None:
            rows.append((tag, own, "", "", "", ""))
            continue
        place = matrix.sources.index(best), matrix.locales.index(tag)
        error = np.nan if matrix.calibration_error is None else matrix.calibration_error[place]
        shown = "" if np.isnan(error) else f"{error:.3f}"
        rows.append((tag, own, best, f"{others[best]:.3f}", shown, f"{np.mean(list(others.values())):.3f}"))
    return text_table(("", "own model", "best other", "accuracy", "ECE", "mean of others"), rows)


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
