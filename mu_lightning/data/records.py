"""Streaming readers for CSV, TSV, JSON lines, Parquet and plain text, with line numbers.

Text is UTF-8 (with or without a byte-order mark) or UTF-16 with one. Errors name the file and the line. An apostrophe
in front of a formula is a mark of spreadsheets, see `mu_lightning.utilities.table_cells`.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.table_cells import original

TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Record(NamedTuple):
    """A record: its line number (row number in Parquet), from 1, and its values."""

    line: int
    values: dict[str, Any]

    def where(self, name: object) -> str:
        """Formats the location, for messages."""
        return f"{name}, line {self.line}"


def read_records(path: Path, kind: str | None = None) -> Iterator[Record]:
    """Streams the records of a table.

    Args:
        path: the file.
        kind: one of `TABLES`, or anything else for plain text lines; default: the suffix of the file.

    Raises:
        UserError: the file is unreadable, empty or malformed; the error names the line.
    """
    kind = path.suffix.lower() if kind is None else kind
    if kind == ".parquet":
        yield from _parquet(path)
        return
    try:
        with path.open(encoding=_encoding(path), newline="") as lines:
            yield from text_records(lines, kind, str(path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}, line {_broken_line(path)}: not UTF-8: save the file as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def text_records(lines: TextIO, kind: str, name: str) -> Iterator[Record]:
    """Streams the records of an open text table.

    Args:
        lines: file opened with ``newline=""``.
        kind: ``.csv``, ``.tsv`` or ``.jsonl``; anything else: a record ``{"text": line}`` for each non-blank line.
        name: name of the file, for errors.

    Raises:
        UserError: the table is empty or malformed; the error names the line.
    """
    if kind in _DELIMITERS:
        return _separated(lines, _DELIMITERS[kind], name)
    return _json_lines(lines, name) if kind == ".jsonl" else _plain(lines)


def _separated(lines: TextIO, delimiter: str, name: str) -> Iterator[Record]:
    first = lines.readline().lstrip("\ufeff")
    if not first.strip():
        raise UserError(f"{name}, line 1: expected a header with the columns' names")
    if delimiter == "," and "," not in first:  # spreadsheets of many locales use semicolons
        delimiter = next((one for one in ";\t" if one in first), delimiter)
    (header,) = csv.reader([first], delimiter=delimiter)
    header = [original(column.strip()) for column in header]
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise UserError(f"{name}, line 1: the column '{twice[0]}' is there twice")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    line = 2
    try:
        for row in reader:
            if row:
                if len(row) != len(header):
                    raise UserError(
                        f"{name}, line {line}: {len(row)} values for the {len(header)} columns "
                        f"{', '.join(header)}: quote texts that contain the separator"
                    )
                yield Record(line, dict(zip(header, map(original, row), strict=True)))
            line = reader.line_num + 2
    except csv.Error as error:
        raise UserError(f"{name}, line {line}: not a valid row ({error}): a quote may be missing") from error


def _json_lines(lines: TextIO, name: str) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        text = line.lstrip("\ufeff") if number == 1 else line
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{name}, line {number}: not JSON ({error.msg}, column {error.colno})") from error
        if not isinstance(values, dict):
            raise UserError(f'{name}, line {number}: expected a JSON object such as {{"text": ...}}')
        yield Record(number, values)


def _plain(lines: TextIO) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        text = line.strip("\ufeff\r\n")
        if text.strip():
            yield Record(number, {"text": text})


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = class_names(file.schema_arrow)
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    for column, of_index in names.items():
                        values[column] = of_index.get(values[column])
                    yield Record(number, values)
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path}, after row {number}: cannot be read as Parquet ({error})") from error


def class_names(schema: Any) -> dict[str, dict[int, str]]:
    """Returns class names by index for class columns, from the metadata of `datasets`."""
    notes = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = notes.get("info", {}).get("features", {})
    return {
        column: dict(enumerate(feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("names") is not None
    }


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in _UTF16 else "utf-8-sig"


def _broken_line(path: Path) -> int:
    """Returns the first line that is not UTF-8."""

    def broken(line: bytes) -> bool:
        try:
            line.decode()
        except UnicodeDecodeError:
            return True
        return False

    with path.open("rb") as lines:
        return next((number for number, line in enumerate(lines, 1) if broken(line)), 1)
