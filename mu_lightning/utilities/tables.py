"""Plain-text and Markdown tables."""

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


def markdown_table(header: Row, rows: Sequence[Row]) -> str:
    """Formats a Markdown table."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, rule, *rows)) + "\n"
