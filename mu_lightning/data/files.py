"""The corpus ``files``: a folder of tables, one per language or with a language column."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mu_lightning.data.corpus import Split
from mu_lightning.data.records import TABLES, Record, read_records
from mu_lightning.data.splits import split_named
from mu_lightning.data.tables import Columns, TableCorpus, TableRow, plain_value, split_value
from mu_lightning.locales import is_language, locale
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError

_LAYOUTS = "<language>.csv, <split>/<language>.csv, <language>/<split>.csv, or any name and a column of languages"


def files_corpus(settings: CorpusSettings) -> TableCorpus:
    """Creates the corpus of the table or the folder of tables ``data_dir``, without reading them.

    Raises:
        UserError: no folder is given, or it contains no tables.
    """
    folder = settings.data_dir
    if folder is None:
        raise UserError(f"--corpus files needs --data-dir: a folder of {_LAYOUTS} ({', '.join(TABLES)})")
    paths = [folder] if folder.is_file() and folder.suffix.lower() in TABLES else _tables(folder)
    folder = folder.parent if folder.is_file() else folder
    columns = Columns.of(settings)
    return TableCorpus(
        "files", lambda: (row for path in paths for row in _rows(path, folder, columns)), settings.split_seed
    )


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        state = f"is none of {', '.join(TABLES)}" if folder.is_file() else "is not a directory"
        raise UserError(f"--data-dir {folder} {state}")
    paths = sorted(
        path
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
        if path.suffix.lower() in TABLES and path.is_file() and not path.name.startswith(".")
    )
    if not paths:
        raise UserError(f"{folder} contains no tables: expected {_LAYOUTS} ({', '.join(TABLES)})")
    return paths


def _rows(path: Path, folder: Path, columns: Columns) -> Iterator[TableRow]:
    """Reads the rows of a table; language and split may be given by the path."""
    language, split = _told_by_path(path.relative_to(folder))
    records = list(read_records(path))
    if not records:
        raise UserError(f"{path}, line 1: the table has no rows")
    layouts: dict[tuple[str, ...], dict[str, str]] = {}
    found_of = []
    for record in records:
        keys = tuple(record.values)
        if keys not in layouts:
            layouts[keys] = columns.find(keys)
        found_of.append(layouts[keys])
    by_column = _languages(records, found_of, path, language, "language" in columns.named)
    for place, (record, found) in enumerate(zip(records, found_of, strict=True)):
        where = record.where(path)
        cells = {
            what: plain_value(record.values[column], where, column)
            for what, column in found.items()
            if what in ("label", "split", "id")
        }
        of_row: Split | None = split
        named = cells.get("split")
        if split is None and named is not None:
            of_row = split_value(named, where, found["split"])
        tag = by_column[place] if by_column is not None else language
        assert tag is not None
        yield TableRow(
            where, tag, of_row, cells.get("id"), columns.text_of(record.values, found, where), cells.get("label")
        )


def _told_by_path(path: Path) -> tuple[str | None, Split | None]:
    """Returns language and split from the names of folders and file; split names take precedence."""
    language: str | None = None
    split: Split | None = None
    for part in path.with_suffix("").parts:
        named = split_named(part)
        if named is not None:
            split = named
        elif is_language(part.replace("_", "-")):
            language = part.replace("_", "-")
    return language, split


def _languages(
    records: list[Record], found_of: list[dict[str, str]], path: Path, told: str | None, asked: bool
) -> list[str] | None:
    """Returns the language of each row from its column; None if the file name gives it.

    The file name takes precedence over a default column, unless that has several languages.
    """
    cells = [
        plain_value(record.values[found["language"]], record.where(path), found["language"])
        if "language" in found
        else None
        for record, found in zip(records, found_of, strict=True)
    ]
    present = Counter(cell for cell in cells if cell is not None)
    if not present or (told is not None and not asked and len(present) == 1):
        if told is None:
            raise UserError(
                f"{path}: whose language? Its name is no language's tag, and it has no column of languages: name the "
                "file after it (en.csv, sw-KE.csv) or the column with --language-column"
            )
        return None
    tags: dict[str, str] = {}
    for record, cell in zip(records, cells, strict=True):
        if cell is None:
            raise UserError(f"{record.where(path)}: no language")
        if cell not in tags:
            tags[cell] = cell.replace("_", "-")
            try:
                locale(tags[cell])
            except UserError as error:
                raise UserError(f"{record.where(path)}: {error}") from error
    return [tags[cell] for cell in cells if cell is not None]
