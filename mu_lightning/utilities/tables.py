"""Plain-text and Markdown tables."""

import re
from collections.abc import Sequence

Row = Sequence[str]


def counted(number: int, noun: str) -> str:
    """Formats a count with its noun.

    >>> counted(1, "member"), counted(5, "member")
    ('1 member', '5 members')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text_table(header: Row, rows: Sequence[Row]) -> str:
    """Formats an aligned table: first column left-aligned, others right-aligned."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    )


def markdown_text(text: str) -> str:
    r"""Escapes a text for Markdown, on one line: names of models and locales are no markup.

    >>> markdown_text("a\n# b <script> | [c](d)")
    'a # b &lt;script&gt; \\| \\[c\\](d)'
    """
    one_line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    escaped = re.sub(r"([\\`*\[\]|])", r"\\\1", one_line)
    return escaped.replace("<", "&lt;").replace(">", "&gt;")


def markdown_table(header: Row, rows: Sequence[Row]) -> str:
    """Formats a Markdown table."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows)) + "\n"
