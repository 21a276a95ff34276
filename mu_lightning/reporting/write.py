"""Writes the report: HTML page, Markdown, tables as CSV and LaTeX, figures as SVG and PNG."""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mu_lightning import __version__
from mu_lightning.reporting import formats, pairwise_tests, runs, scores, summary, transfer
from mu_lightning.reporting.comparisons import Comparisons
from mu_lightning.reporting.content import Figure, Section, Table
from mu_lightning.reporting.evidence import Evidence
from mu_lightning.reporting.figures import INK, LINE, MUTED, STYLE
from mu_lightning.reporting.filtering import Filters
from mu_lightning.reporting.gathering import gather
from mu_lightning.results.matrix import NByN
from mu_lightning.results.store import Store
from mu_lightning.utilities.files import atomic_folder, write_text

Say = Callable[[str], None]
SLICE = 10  # maximum number of columns of a printed table


def write_report(
    store: Store, nxn: NByN | None, filters: Filters, output: Path, title: str, command: str, say: Say = print
) -> list[Section]:
    """Analyzes results and writes the report folder atomically.

    Args:
        store: the results.
        nxn: the N-by-N matrix, if any.
        filters: filters for the results.
        output: output folder.
        title: title of the report.
        command: command line for reproducing the report.
        say: progress callback for messages.

    Returns:
        Sections of the report.

    Raises:
        UserError: see `gather`, or an existing output folder.
    """
    evidence = gather(store, nxn, filters)
    say(f"comparing {len(evidence.methods)} methods on {len(evidence.targets)} targets")
    sections = sections_of(evidence, command)
    with atomic_folder(output, "a report") as folder:
        say("drawing figures")
        drawings = {figure.key: _draw(figure, folder / "figures") for one in sections for figure in one.figures}
        say("writing tables and pages")
        for table in [table for one in sections for table in one.tables]:
            write_text(folder / "tables" / f"{table.key}.csv", formats.as_csv(table))
            if table.shown:
                write_text(folder / "tables" / f"{table.key}.tex", formats.as_latex(table))
        about = {
            "title": title,
            "sections": sections,
            "version": __version__,
            "date": datetime.now(UTC).date().isoformat(),
        }
        write_text(folder / "report.md", _environment(html=False).get_template("report.md.j2").render(about))
        page = _environment(html=True).get_template("report.html.j2")
        write_text(folder / "report.html", page.render(about | {"drawings": drawings}))
    return sections


def sections_of(evidence: Evidence, command: str) -> list[Section]:
    """Creates all sections in order."""
    comparisons = Comparisons(evidence)
    typology = transfer.explain(evidence.nxn) if evidence.nxn is not None else None
    found: list[Section | None] = [
        summary.section(evidence, comparisons, typology),
        scores.section(evidence, comparisons),
        pairwise_tests.differences(evidence, comparisons),
        pairwise_tests.wins(evidence, comparisons),
        pairwise_tests.ranks(comparisons),
    ]
    if evidence.nxn is not None and typology is not None:
        found += [transfer.matrix_section(evidence.nxn), transfer.typology_section(evidence, evidence.nxn, typology)]
    found += [
        runs.weights(evidence),
        runs.timelines(evidence),
        runs.costs(evidence),
        runs.gaps(evidence),
        runs.reproduce(evidence, command),
    ]
    return [one for one in found if one is not None]


def _draw(figure: Figure, folder: Path) -> str:
    """Writes a figure as SVG and PNG, and returns the SVG for the page."""
    from matplotlib import rc_context

    folder.mkdir(exist_ok=True)
    with rc_context(STYLE):
        drawing = figure.draw()
        vector = io.BytesIO()
        # No dates and random ids, for reproducible output.
        drawing.savefig(vector, format="svg", metadata={"Date": None}, dpi=200)
        drawing.savefig(folder / f"{figure.key}.png", dpi=160, metadata={"Software": None}, facecolor="white")
    text = vector.getvalue().decode()
    opened = text.index(">", text.index("<svg")) + 1
    paper = '<rect width="100%" height="100%" fill="white"/>'  # background for standalone files
    (folder / f"{figure.key}.svg").write_text(f"{text[:opened]}{paper}{text[opened:]}", encoding="utf-8")
    return inline_svg(text, figure.key, figure.alternative)


def inline_svg(text: str, key: str, alternative: str) -> str:
    """Converts an SVG file for inclusion in a page: unique ids, colors of the page, alternative text.

    Args:
        text: content of the file.
        key: prefix for ids.
        alternative: alternative text.
    """
    from markupsafe import escape

    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{key}-', body)
    body = re.sub(r'href="#', f'href="#{key}-', body)
    body = re.sub(r"url\(#", f"url(#{key}-", body)
    for color, name in ((INK, "ink"), (MUTED, "muted"), (LINE, "line")):
        body = body.replace(color, f"var(--{name})")
    size = re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', body)
    width = float(size[1]) * 4 / 3 if size else 600.0
    head = f'<svg role="img" aria-label="{escape(alternative)}" style="--width: {width:.0f}px"'
    body = re.sub(r'width="[\d.]+pt" height="[\d.]+pt" ', "", body, count=1)
    return head + body.removeprefix("<svg").strip()


def slices(table: Table) -> list[range]:
    """Divides the columns of a table for printing."""
    return [range(start, min(start + SLICE, len(table.header))) for start in range(1, len(table.header), SLICE)]


def _environment(html: bool) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mu_lightning.reporting"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(slices=slices, is_table=lambda part: isinstance(part, Table), marks=formats.MARKS)
    environment.filters["as_markdown"] = formats.as_markdown
    return environment
