"""The command `similarity`: typological neighbors and weights of a target, and the similarity matrix."""

from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.commands.arguments import add_source_arguments, plan_from, settings_from
from mu_lightning.commands.names import CORPUS
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.reporting.similarity_figure import FORMATS, check_format, draw_heat_map
from mu_lightning.typology.plan import source_matrix, table
from mu_lightning.typology.similarity import write_csv
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "similarity",
        "Prints the typological neighbors of a target with their weights as sources, and writes the "
        "similarity matrix. With --models-dir or --models-csv only locales with a source model are candidates.",
    )
    add_source_arguments(result, models_dir=None)
    result.add_argument(
        "--corpus", type=CORPUS, default=None, help=f"corpus of the source models in --models-dir: {CORPUS.names}"
    )
    result.add_argument("--output-file", type=Path | None, default=None, help="output CSV file of the matrix")
    result.add_argument(
        "--figure", type=Path | None, default=None, help=f"output file of the heat map ({', '.join(FORMATS)})"
    )
    return result


def run(argv: list[str]) -> int:
    """Prints neighbors and writes files; returns the exit status.

    Raises:
        UserError: nothing to do, an existing file; see `plan_from` and `source_matrix`.
    """
    arguments = parser().parse_args(argv)
    if arguments.target_lang is None and arguments.output_file is None and arguments.figure is None:
        raise UserError("nothing to do: set --target-lang, --output-file or --figure")
    with reserved(arguments.output_file, "a file"), reserved(arguments.figure, "a picture"):
        return _write(arguments)


def _write(arguments: Namespace) -> int:
    if arguments.figure is not None:
        check_format(arguments.figure)
    plan = plan_from(arguments) if arguments.target_lang is not None else None
    more = () if plan is None else (plan.target, *plan.sources)
    matrix = source_matrix(settings_from(arguments), more)
    if plan is not None:
        print(table(plan))
    if arguments.output_file is not None:
        write_csv(matrix, arguments.output_file)
        print(f"matrix: {arguments.output_file} ({len(matrix.locales)} locales)")
    if arguments.figure is not None:
        draw_heat_map(matrix, arguments.figure, plan)
        print(f"figure: {arguments.figure}")
    return 0
