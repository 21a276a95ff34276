"""Similarity matrices of languages, from typological features or a file."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from mu_lightning.locales import locale
from mu_lightning.typology.features import features, parse_mix
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file
from mu_lightning.utilities.reading import CsvRow, read_csv_rows
from mu_lightning.utilities.table_cells import safe

SHOWN = 12  # locales that a message names


@dataclass(frozen=True, eq=False)
class SimilarityMatrix:
    """A validated matrix of similarities between locales.

    Attributes:
        locales: tags of rows and columns.
        values: array of shape (locales, locales), float64, read-only; finite and non-negative.
        origin: feature set or file, for error messages.
    """

    locales: tuple[str, ...]
    values: np.ndarray
    origin: str = "given"

    def __post_init__(self) -> None:
        values = np.array(self.values, dtype=np.float64)
        values.flags.writeable = False
        object.__setattr__(self, "values", values)
        if not self.locales:
            raise UserError(f"similarity matrix {self.origin} is empty: it has no locale")
        if values.shape != (len(self.locales), len(self.locales)):
            raise UserError(
                f"similarity matrix {self.origin} is not square: {len(self.locales)} locales, but values of shape "
                f"{' x '.join(map(str, values.shape))}"
            )
        twice = _first_repeated(self.locales)
        if twice is not None:
            raise UserError(f"similarity matrix {self.origin} names {twice} twice")
        for problem, cells in (("is not finite", ~np.isfinite(values)), ("is negative", values < 0)):
            if cells.any():
                row, column = (int(index) for index in np.argwhere(cells)[0])
                raise UserError(
                    f"similarity matrix {self.origin}: the similarity of {self.locales[row]} (row) and "
                    f"{self.locales[column]} (column) {problem}: {values[row, column]}"
                )

    def index(self, tag: str) -> int:
        """Returns the index of a locale; raises UserError if it is unknown or missing."""
        if tag in self.locales:
            return self.locales.index(tag)
        locale(tag)  # what is no language's tag is refused as such
        shown = ", ".join(self.locales[:SHOWN]) + (", ..." if len(self.locales) > SHOWN else "")
        raise UserError(f"similarity matrix {self.origin} has no row for {tag}; it has {shown}")

    def similarity(self, row: str, column: str) -> float:
        """Returns the similarity of locale `column` to locale `row`."""
        return float(self.values[self.index(row), self.index(column)])


def _first_repeated(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


@lru_cache(maxsize=32)
def _from_features(feature_set: str, locales: tuple[str, ...]) -> SimilarityMatrix:
    values = np.zeros((len(locales), len(locales)))
    for name, share in parse_mix(feature_set).items():
        values += share * (_cosines(features(name, locales), locales, name) + 1.0) / 2.0
    np.fill_diagonal(values, 1.0)
    return SimilarityMatrix(locales, values, origin=feature_set)


def from_features(feature_set: str, locales: Sequence[str]) -> SimilarityMatrix:
    """Computes similarities (cosine + 1) / 2 of feature vectors, over features that both languages have.

    Args:
        feature_set: a feature set, or a mix such as ``syntax_knn:0.7+geography:0.3``, for the weighted mean of
            matrices.
        locales: tags of rows and columns.

    Returns:
        An exactly symmetric matrix with values in [0, 1] and a diagonal of 1.

    Raises:
        UserError: an unknown set or locale, or two languages without common features.
    """
    return _from_features(feature_set, tuple(locales))


def _cosines(rows: np.ndarray, locales: Sequence[str], feature_set: str) -> np.ndarray:
    known = ~np.isnan(rows)
    values = np.where(known, rows, 0.0)
    squares = values**2
    cosines = np.empty((len(rows), len(rows)))
    for index in range(len(rows)):
        # Row-wise sums instead of a matrix product: the order of summation is the same for all pairs, so that ties are
        # exact and the matrix is symmetric on every machine.
        products = (values[index] * values).sum(axis=1)
        norms = (squares[index] * known).sum(axis=1) * (squares * known[index]).sum(axis=1)
        if not norms.all():
            other = locales[int(np.argmin(norms))]
            raise UserError(f"feature set '{feature_set}' has no common features of {locales[index]} and {other}")
        cosines[index] = products / np.sqrt(norms)
    return np.clip(cosines, -1.0, 1.0)


def write_csv(matrix: SimilarityMatrix, path: Path) -> None:
    """Writes the matrix as CSV with a header and an index column, losslessly.

    Raises:
        UserError: the file exists.
    """
    with atomic_file(path, replace=False) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", *map(safe, matrix.locales)])
        for tag, row in zip(matrix.locales, matrix.values.tolist(), strict=True):
            writer.writerow([safe(tag), *map(repr, row)])


def read_csv(path: Path) -> SimilarityMatrix:
    """Reads a matrix from a CSV file with a header and an index column.

    Raises:
        UserError: a missing, empty or invalid file; rows and columns that differ; a value that is not a number, not
            finite or negative.
    """
    if not path.is_file():
        raise UserError(f"no similarity matrix at {path}: write one with 'similarity --output-file {path}'")
    header, *table = read_csv_rows(path)
    columns, rows = header.cells[1:], [row.cells[0] for row in table]
    if not columns or not rows:
        raise UserError(f"{path} is empty: expected a header of locales and a row for each")
    twice = _first_repeated(rows)
    if twice is not None:
        raise UserError(f"{path} has two rows named {twice}")
    if len(rows) != len(columns):
        raise UserError(f"{path} is not square: {len(rows)} rows and {len(columns)} columns")
    for row_name, column_name in zip(rows, columns, strict=True):
        if row_name != column_name:
            raise UserError(
                f"{path}: rows and columns differ: {row_name} (row) stands where {column_name} (column) does"
            )
    values = [
        [_number(cell, path, row, column) for cell, column in zip(row.cells[1:], columns, strict=True)] for row in table
    ]
    return SimilarityMatrix(tuple(rows), np.array(values), origin=str(path))


def _number(cell: str, path: Path, row: CsvRow, column: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        problem = f"'{cell}' is not a number" if cell else "the cell is empty"
        raise UserError(f"{path}, line {row.line}, row {row.cells[0]}, column {column}: {problem}") from error
