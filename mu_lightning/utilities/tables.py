"""Plain tables for the terminal and for Markdown, and counts in words."""

from collections.abc import Sequence

Row = Sequence[str]


def counted(number: int, noun: str) -> str:
    """A number of things in words.

    >>> counted(1, "member"), counted(5, "member")
    ('1 member', '5 members')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def text_table(header: Row, rows: Sequence[Row]) -> str:
    """An aligned table: the first column to the left, the others to the right, a rule under the header."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(line, widths, strict=True)) for line in lines)
    )


def markdown_table(header: Row, rows: Sequence[Row]) -> str:
    """The same as a Markdown table."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows)) + "\n"
