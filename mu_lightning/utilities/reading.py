"""Strict readers for text, JSON and CSV files; errors name the file and the line."""

import codecs
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.table_cells import original

MAX_BYTES = 512 * 2**20
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
# Longest first: the BOM of UTF-32 starts with that of UTF-16.
_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def check_not_lfs_pointer(path: Path) -> None:
    """Raises UserError if a file is a Git LFS pointer."""
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise UserError(f"{path} is a Git LFS pointer: download the file with 'git lfs pull'")


def read_text(path: Path, *, max_bytes: int = MAX_BYTES) -> str:
    """Reads a UTF-8 file, without a byte-order mark.

    Args:
        path: the file.
        max_bytes: maximum size.

    Raises:
        UserError: the file is unreadable, too large, a Git LFS pointer, or has another encoding.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise UserError(f"{path} has {size:,} bytes: at most {max_bytes:,} are read")
        check_not_lfs_pointer(path)
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    return decoded(content, path)


def decoded(content: bytes, path: Path) -> str:
    """Decodes bytes of a file as UTF-8, without a byte-order mark; raises UserError for other encodings."""
    encoding = next((name for mark, name in _OTHER_ENCODINGS if content.startswith(mark)), None)
    if encoding is not None:
        raise UserError(f"{path} is encoded as {encoding}: save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: the byte 0x{content[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise UserError(f"{path}, line {line}: NUL character: this is not a UTF-8 text file")
    return text


def read_json(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Reads a JSON file.

    Raises:
        UserError: see `read_text`; or invalid JSON, too deep nesting, or a repeated key.
    """
    text = read_text(path, max_bytes=max_bytes)
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise UserError(f"{path} is not valid JSON: it is nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error


def read_json_object(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """Reads a JSON file that must contain an object."""
    content = read_json(path, max_bytes=max_bytes)
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object")
    return content


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key '{key}' is there twice")
        found[key] = value
    return found


@dataclass(frozen=True)
class CsvRow:
    """A row of a CSV file: its stripped cells (see `mu_lightning.utilities.table_cells`), and its last line number."""

    line: int
    cells: list[str]


def read_csv_rows(path: Path) -> list[CsvRow]:
    """Reads the non-empty rows of a CSV file.

    Raises:
        UserError: see `read_text`; or an empty or invalid file, a repeated column, or a row whose number of cells
            differs from the header.
    """
    rows = list(_rows(path, read_text(path)))
    if not rows:
        raise UserError(f"{path} is empty: expected a header and rows")
    header = rows[0]
    for place, name in enumerate(header.cells):
        if name in header.cells[:place]:
            raise UserError(f"{path}, line {header.line}: the header names the column '{name}' twice")
    for row in rows[1:]:
        if len(row.cells) != len(header.cells):
            raise UserError(
                f"{path}, line {row.line}: {len(row.cells)} cells in the row of {row.cells[0]!r}, but the header has "
                f"{len(header.cells)}"
            )
    return rows


def _rows(path: Path, text: str) -> Iterator[CsvRow]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if cells:
                yield CsvRow(reader.line_num, [original(cell.strip()) for cell in cells])
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
