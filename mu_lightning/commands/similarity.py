"""The command `similarity`: a target's typological neighbors and their weights; the matrix as a file and a picture."""

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
    """The command's arguments."""
    result = command_parser(
        "similarity",
        "Prints the typological neighbors of a target and the weights they would have as its sources, and "
        "writes the similarity matrix. With --models-dir or --models-csv only locales with a source model are taken.",
    )
    add_source_arguments(result, models_dir=None)
    result.add_argument(
        "--corpus", type=CORPUS, default=None, help=f"the corpus of the source models in --models-dir: {CORPUS.names}"
    )
    result.add_argument("--output-file", type=Path | None, default=None, help="write the matrix to this CSV file")
    result.add_argument(
        "--figure", type=Path | None, default=None, help=f"draw the matrix to this file ({', '.join(FORMATS)})"
    )
    return result


def run(argv: list[str]) -> int:
    """Prints and writes what is asked for; returns the exit status.

    Raises:
        UserError: nothing is asked for, a file exists, or as of `plan_from` and `source_matrix`.
    """
    arguments = parser().parse_args(argv)
    if arguments.target_lang is None and arguments.output_file is None and arguments.figure is None:
        raise UserError(
            "nothing to do: name a --target-lang to see its neighbors, or an --output-file or --figure to write"
        )
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
