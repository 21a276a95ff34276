r"""Cells of CSV and TSV files that a spreadsheet does not take for a formula.

Spreadsheets compute cells that start with ``=``, ``+``, ``-`` or ``@`` (full-width too, in East Asian locales). Some
skip a tab or line break before it. Such texts are written with an apostrophe in front, as spreadsheets mark text; texts
that already start with apostrophes and such a sign get one more, so that `original` gives every text back.

>>> safe("=1+1"), safe("-3.5"), safe("- yes"), safe(-3.5), safe("'=x"), original("'=1+1"), original("'tis")
("'=1+1", '-3.5', "'- yes", -3.5, "''=x", '=1+1', "'tis")
"""

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_QUOTED = re.compile("'+[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", re.ASCII)


def safe(value: Any) -> Any:
    """Returns a cell to write: a text that a spreadsheet would compute has an apostrophe in front."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def original(text: str) -> str:
    """Returns the text of a cell that was written by `safe`."""
    return text[1:] if _QUOTED.match(text) else text


def safe_row(values: Iterable[Any]) -> list[Any]:
    """Returns the cells of a row; see `safe`."""
    return [safe(value) for value in values]


def safe_record(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row by column; see `safe`."""
    return {safe(name): safe(value) for name, value in values.items()}


def safe_frame(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Returns a data frame to write as CSV; see `safe`."""
    return table.map(safe).rename(columns=safe)
