"""The command `report`: creates a report of results."""

import shlex
from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.commands.names import CORPUS, EXPERIMENT_TYPE, SPLIT
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "report",
        "Reads a results folder (of sweep, ensemble, fit) and an N-by-N matrix, compares the methods, and "
        "writes one self-contained page, the same as Markdown, tables as CSV and LaTeX, and figures as SVG and PNG.",
    )
    add = result.add_argument
    add("results", type=Path, help="results folder, read recursively")
    add("--nxn", type=Path | None, default=None, help="N-by-N folder or file (default: one in the results)")
    add("--locales", type=str, nargs="+", default=None, help="restrict to these targets, separated by commas or spaces")
    add(
        "--experiment-types",
        type=EXPERIMENT_TYPE,
        nargs="+",
        default=None,
        help=f"restrict to these types: {', '.join((*APPROACHES, 'model'))}; similarity and average are merges with "
        "URIEL and equal weights",
    )
    add("--corpus", type=CORPUS, default=None, help=f"restrict to this corpus: {CORPUS.names}")
    add("--split", type=SPLIT, default=None, help=f"restrict to this split: {SPLIT.names}")
    add("--title", type=str | None, default=None, help="title (default: name of the results folder)")
    add("--output-dir", type=Path, default=Path("report"), help="output folder; must not exist")
    return result


def run(argv: list[str]) -> int:
    """Writes the report and prints its summary; returns the exit status.

    Raises:
        UserError: no results, filters without matches, several matrices; see `write_report`.
    """
    arguments = parser().parse_args(argv)
    with reserved(arguments.output_dir, "a report"):
        _report(arguments, argv)
    return 0


def _report(arguments: Namespace, argv: list[str]) -> None:
    from mu_lightning.reporting.report import report

    sections = report(
        arguments.results,
        arguments.output_dir,
        nxn=arguments.nxn,
        locales=locale_list(arguments.locales),
        experiment_types=arguments.experiment_types,
        corpus=arguments.corpus,
        split=arguments.split,
        title=arguments.title,
        command=shlex.join(["mu-lightning", "report", *argv]),
        say=lambda text: print(text, flush=True),
    )
    print("\n" + "\n".join(sections[0].points))
    print(f"\npage: {arguments.output_dir / 'report.html'}")
