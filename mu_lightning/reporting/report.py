"""Creates the report of a results folder."""

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
    """Compares the methods in a results folder, and writes a page, tables and figures.

    Args:
        results: results folder, read recursively.
        output_dir: output folder.
        nxn: N-by-N folder or file; default: the one in the results.
        locales: restrict to these targets.
        experiment_types: restrict to results of these types.
        corpus: restrict to results of this corpus.
        split: restrict to results of this split.
        title: title of the report.
        command: command line for reproducing the report.
        say: progress callback for messages.

    Returns:
        Sections of the report; the first is the summary.

    Raises:
        UserError: no results, filters without matches, several matrices, or an existing output folder.
    """
    results, output_dir = Path(results), Path(output_dir)
    store = read_store(results)
    if nxn is None and len(store.matrices) > 1:
        raise UserError(
            f"{results} holds several N-by-N matrices ({', '.join(map(str, store.matrices))}): select one with --nxn"
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
