"""The report of a results folder, from where the results are to where the page is written."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from mu_lightning.reporting.content import Section
from mu_lightning.reporting.filtering import Filters
from mu_lightning.reporting.write import write_report
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError


def report(
    results: str | Path,
    output_dir: str | Path = "report",
    *,
    nxn: str | Path | None = None,
    locales: Sequence[str] | None = None,
    experiment_types: Sequence[str] | None = None,
    corpus: str | None = None,
    split: str | None = None,
    title: str | None = None,
    command: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Section]:
    """Compares the methods whose results lie in a folder, and writes a page, tables and figures.

    Args:
        results: the results folder: everything below it is read.
        output_dir: the folder to write.
        nxn: the N-by-N folder or file; the one in the results, if there is one.
        locales: only these targets.
        experiment_types: only results of these types.
        corpus: only results of this corpus.
        split: only results of this split.
        title: the heading; by default it names the results folder.
        command: the command line that the page gives for making it again.
        say: is told what is being done.

    Returns:
        The sections of the page; the first is the summary.

    Raises:
        UserError: nothing to report on, a filter that leaves nothing, several matrices, or `output_dir` exists.
    """
    results, output_dir = Path(results), Path(output_dir)
    store = read_store(results)
    if nxn is None and len(store.matrices) > 1:
        raise UserError(
            f"{results} holds several N-by-N matrices ({', '.join(map(str, store.matrices))}): choose one with --nxn"
        )
    place = Path(nxn) if nxn is not None else next(iter(store.matrices), None)
    return write_report(
        store,
        None if place is None else read_nxn(place),
        Filters(locales, experiment_types, corpus, split),
        output_dir,
        title or f"Methods compared: {results.resolve().name}",
        command or shlex.join(["mu-lightning", "report", str(results), "--output-dir", str(output_dir)]),
        say=say,
    )
