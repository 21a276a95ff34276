"""Content of the report, independent of the format: sections with text, tables and figures."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

MINUS = "\u2212"


@dataclass(frozen=True)
class Value:
    """A table cell.

    Attributes:
        text: displayed text.
        sort: sort key, and value in the CSV file.
        small: second line in smaller type, such as an interval.
        best: whether it is the best of its column or kind.
        mark: whether it is significantly above or below the reference.
    """

    text: str
    sort: float | str | None = None
    small: str = ""
    best: bool = False
    mark: Literal["", "above", "below"] = ""

    @property
    def wordy(self) -> bool:
        """Whether it is text, which is left-aligned and wrapped."""
        return not isinstance(self.sort, int | float) and len(self.text) > 1

    @property
    def key(self) -> float | str:
        """Sort key: numbers before text."""
        if self.sort is None or (isinstance(self.sort, float) and math.isnan(self.sort)):
            return ""
        return self.sort


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        key: name of its files.
        title: title of the caption.
        note: notes in the caption.
        header: column names; the first column has row names.
        rows: the cells.
        records: rows of the CSV file, if they differ from `rows`.
        shown: whether the table is shown; else the report links its CSV file.
        sortable: whether it is sortable.
    """

    key: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    records: Sequence[Mapping[str, Any]] | None = None
    shown: bool = True
    sortable: bool = True

    def lines(self) -> list[dict[str, Any]]:
        """Rows of the CSV file."""
        if self.records is not None:
            return [dict(record) for record in self.records]
        return [
            {name: cell.text if cell.sort is None else cell.sort for name, cell in zip(self.header, row, strict=True)}
            for row in self.rows
        ]


@dataclass(frozen=True)
class Figure:
    """A figure of the report.

    Attributes:
        key: name of its files.
        title: title of the caption.
        note: notes in the caption.
        alternative: alternative text.
        draw: plots the figure.
        wide: whether it scrolls on narrow screens instead of shrinking.
    """

    key: str
    title: str
    alternative: str
    draw: "Callable[[], Drawing]"
    note: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        key: anchor.
        title: heading.
        text: paragraphs.
        parts: tables and figures.
        points: bullet points after the paragraphs.
        code: commands after the points.
    """

    key: str
    title: str
    text: Sequence[str] = ()
    parts: Sequence[Table | Figure] = ()
    points: Sequence[str] = ()
    code: Sequence[str] = field(default=())

    @property
    def tables(self) -> list[Table]:
        """Tables of the section."""
        return [part for part in self.parts if isinstance(part, Table)]

    @property
    def figures(self) -> list[Figure]:
        """Figures of the section."""
        return [part for part in self.parts if isinstance(part, Figure)]


def percent(share: float | None) -> str:
    """Formats a share in percent, with one decimal.

    >>> percent(0.6124)
    '61.2'
    """
    return "–" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """Formats a difference in percentage points, with sign.

    >>> points(-0.0123), points(0.01)
    ('\u22121.2', '+1.0')
    """
    if difference is None or math.isnan(difference):
        return "–"
    return f"{100 * difference:+.1f}".replace("+0.0", "0.0").replace("-0.0", "0.0").replace("-", MINUS)


def signed(value: float, decimals: int = 2) -> str:
    """Formats a number with sign.

    >>> signed(0.314)
    '+0.31'
    """
    return "–" if math.isnan(value) else f"{value:+.{decimals}f}".replace("-", MINUS)


def interval(ends: tuple[float, float] | None, show: Callable[[float], str] = percent) -> str:
    """Formats an interval.

    >>> interval((0.601, 0.634))
    '60.1 to 63.4'
    """
    return "" if ends is None or math.isnan(ends[0]) else f"{show(ends[0])} to {show(ends[1])}"


def probability(value: float) -> str:
    """Formats a p-value.

    >>> probability(0.0321), probability(0.00002)
    ('0.032', '<0.001')
    """
    if math.isnan(value):
        return "–"
    return "<0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def equals(value: float) -> str:
    """Formats a p-value for a sentence.

    >>> equals(0.2), equals(0.0001)
    ('p = 0.20', 'p < 0.001')
    """
    text = probability(value)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"
