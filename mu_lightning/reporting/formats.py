"""Tables as CSV, LaTeX and Markdown."""

import csv
import io
from collections.abc import Sequence

from mu_lightning.reporting.content import MINUS, Table, Value
from mu_lightning.utilities.table_cells import safe_record, safe_row
from mu_lightning.utilities.tables import markdown_table

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", MINUS: "$-$", "–": "--", "<": "$<$", ">": "$>$",
    "×": r"$\times$", "Δ": r"$\Delta$",
}  # fmt: skip
MARKS = {"above": "▲", "below": "▼", "": ""}


def as_csv(table: Table) -> str:
    """Formats a table as CSV, with unrounded numbers."""
    lines = table.lines()
    names = list(dict.fromkeys(name for line in lines for name in line)) or list(table.header)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, safe_row(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(safe_record, lines))
    return stream.getvalue()


def as_latex(table: Table) -> str:
    """Formats a table as LaTeX, for the packages booktabs and graphicx; wide tables are scaled."""

    def cell(value: Value) -> str:
        text = escape_latex(value.text)
        text = rf"\textbf{{{text}}}" if value.best else text
        text += {"above": r"$^{\blacktriangle}$", "below": r"$^{\blacktriangledown}$", "": ""}[value.mark]
        return text + (rf" {{\scriptsize {escape_latex(value.small)}}}" if value.small else "")

    body = "\n".join("    " + " & ".join(cell(value) for value in row) + r" \\" for row in table.rows)
    header = " & ".join(escape_latex(name) for name in table.header)
    note = f" {table.note}" if table.note else ""
    return (
        "% \\usepackage{amssymb, booktabs, graphicx}\n"
        "\\begin{table*}\n  \\centering\n"
        f"  \\caption{{{escape_latex(table.title)}.{escape_latex(note)}}}\n"
        f"  \\label{{tab:{table.key}}}\n"
        "  \\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"  \\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n    \\toprule\n"
        f"    {header} \\\\\n    \\midrule\n{body}\n    \\bottomrule\n  \\end{{tabular}}}}\n\\end{{table*}}\n"
    )


def escape_latex(text: str) -> str:
    """Escapes LaTeX special characters."""
    return "".join(_LATEX.get(character, character) for character in text)


def as_markdown(table: Table) -> str:
    """Formats a table as Markdown: best values in bold, triangles for significance, intervals in brackets."""

    def cell(value: Value) -> str:
        text = f"**{value.text}**" if value.best else value.text
        text += f" {MARKS[value.mark]}" if value.mark else ""
        return _plain(text + (f" [{value.small}]" if value.small else ""))

    return markdown_table(
        [_plain(name) for name in table.header], [[cell(value) for value in row] for row in table.rows]
    )


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def best_of(values: Sequence[float], high: bool = True) -> set[int]:
    """Indices of the best values, including ties and without NaN."""
    known = [value for value in values if value == value]
    if not known:
        return set()
    best = max(known) if high else min(known)
    return {place for place, value in enumerate(values) if abs(value - best) < 1e-9}
