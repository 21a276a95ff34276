"""The command `report`: what a results folder says, as a page, Markdown, tables and figures."""

import shlex
from pathlib import Path

from jsonargparse import Namespace

from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.commands.names import CORPUS, EXPERIMENT_TYPE, SPLIT
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.locales import locale_list
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """The command's arguments."""
    result = command_parser(
        "report",
        "Reads a results folder (of sweep, ensemble, fit) and an N-by-N matrix, compares the methods, and "
        "writes one self-contained page, the same as Markdown, tables as CSV and LaTeX, and figures as SVG and PNG.",
    )
    add = result.add_argument
    add("results", type=Path, help="the results folder: everything below it is read")
    add("--nxn", type=Path | None, default=None, help="the N-by-N folder or file (default: one in the results)")
    add("--locales", type=str, nargs="+", default=None, help="only these targets, separated by commas or spaces")
    add(
        "--experiment-types",
        type=EXPERIMENT_TYPE,
        nargs="+",
        default=None,
        help=f"only these: {', '.join((*APPROACHES, 'model'))}; similarity and average are merges with URIEL and with "
        "equal weights",
    )
    add("--corpus", type=CORPUS, default=None, help=f"only results of this corpus: {CORPUS.names}")
    add("--split", type=SPLIT, default=None, help=f"only results of this split: {SPLIT.names}")
    add("--title", type=str | None, default=None, help="the heading (default: the results folder's name)")
    add("--output-dir", type=Path, default=Path("report"), help="folder to write; refused if it exists")
    return result


def run(argv: list[str]) -> int:
    """Writes the report and prints its summary; returns the exit status.

    Raises:
        UserError: nothing to report on, a filter that leaves nothing, several matrices, or as of `write_report`.
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
