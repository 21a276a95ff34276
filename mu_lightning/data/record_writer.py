"""Writers for CSV, TSV and JSON lines. Cells of tables are those of `mu_lightning.utilities.table_cells`."""

import csv
import json
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.table_cells import safe_row

WRITTEN = (".csv", ".tsv", ".jsonl")


class RecordWriter:
    """Writes records to a text stream.

    Args:
        stream: output stream.
        kind: one of `WRITTEN`. Tables have the columns of the first record; JSON lines can differ.
    """

    def __init__(self, stream: TextIO, kind: str) -> None:
        self._stream = stream
        self._kind = kind
        self._columns: tuple[str, ...] | None = None
        delimiter = "\t" if kind == ".tsv" else ","
        self._writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
        self._quoting = csv.writer(stream, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def write(self, values: Mapping[str, Any]) -> None:
        """Writes a record; raises UserError if its columns differ from the first record of a table."""
        if self._kind == ".jsonl":
            self._stream.write(json.dumps(values, ensure_ascii=False) + "\n")
            return
        if self._columns is None:
            self._columns = tuple(values)
            self._write_row(self._columns)
        if tuple(values) != self._columns:
            raise UserError(
                f"a record has the columns {', '.join(values)}, the first one {', '.join(self._columns)}: write "
                ".jsonl, where they may differ"
            )
        self._write_row(values.values())

    def _write_row(self, values: Iterable[Any]) -> None:
        cells = safe_row(values)
        # Before Python 3.13 a carriage return is not quoted, although readers end a row there.
        returns = any("\r" in cell for cell in cells if isinstance(cell, str))
        (self._quoting if returns else self._writer).writerow(cells)
