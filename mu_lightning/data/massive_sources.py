"""Readers for MASSIVE: JSON lines of a release, or Parquet files of the Hugging Face hub."""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from mu_lightning.languages import not_among
from mu_lightning.locales import LOCALES
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.hub import settle_hub

HUB_ID = "AmazonScience/massive"
# The dataset is a script, which `datasets` no longer supports; this branch has Parquet files.
REVISION = "refs/convert/parquet"
FIELDS = ("id", "locale", "partition", "intent", "utt")
_PLACES = (".", "data", "1.1/data")  # locations of the files relative to the given directory

Record = tuple[str, Sequence[Any]]
"""Location of a row, for error messages, and the values of `FIELDS`, None if missing."""


class Release:
    """An unpacked release with one file per locale, ``<locale>.jsonl`` or ``<locale>.jsonl.gz``."""

    def __init__(self, data_dir: Path) -> None:
        """Locates the files in `data_dir`, ``data`` or ``1.1/data``; raises UserError if there are none."""
        for place in _PLACES:
            paths = {tag: [data_dir / place / f"{tag}{end}" for end in (".jsonl.gz", ".jsonl")] for tag in LOCALES}
            self._files = {tag: path for tag, both in paths.items() for path in both if path.is_file()}
            if self._files:
                break
        else:
            state = "is not a MASSIVE release" if data_dir.is_dir() else "is not a directory"
            raise UserError(
                f"{data_dir} {state}: looked for <locale>.jsonl or <locale>.jsonl.gz (such as en-US.jsonl) in it, in "
                "data/ and in 1.1/data/; unpack amazon-massive-dataset-1.1.tar.gz there or name another directory"
            )
        self._folder = data_dir / place
        self.locales = tuple(self._files)

    def records(self, locale: str) -> Iterator[Record]:
        """Yields the rows of a locale; raises UserError for a missing locale or an invalid line."""
        if locale not in self._files:
            raise not_among(str(self._folder), locale, self.locales)
        path = self._files[locale]
        number = 0
        try:
            with _open(path) as lines:
                for number, line in enumerate(lines, 1):
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise UserError(f"{path}, line {number}: not a JSON object")
                    yield f"{path}, line {number}", [row.get(field) for field in FIELDS]
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from error
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            raise UserError(f"{path}, after line {number}: cannot be read ({error})") from error
        if not number:
            raise UserError(f"{path}, line 1: the file is empty")


def _open(path: Path) -> TextIO:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")


class Hub:
    """A dataset on the hub, or a folder with the same layout: Parquet files in folders by locale and split."""

    def __init__(self, hub_id: str = HUB_ID, revision: str = REVISION) -> None:
        """Does not access network or disk.

        Args:
            hub_id: name of the dataset on the hub, or a folder.
            revision: branch, tag or commit of the dataset; ignored for a folder.
        """
        self._hub_id, self._revision = hub_id, revision
        self.locales = tuple(LOCALES)

    def records(self, locale: str) -> Iterator[Record]:
        """Yields the rows of a locale; raises UserError if they are not available, with alternatives."""
        import pyarrow
        from pyarrow import parquet

        paths = sorted((self._folder(locale) / locale).rglob("*.parquet"))
        if not paths:
            raise self._out_of_reach(locale, "it has no Parquet files for that locale")
        for path in paths:
            try:
                table = parquet.read_table(path, columns=list(FIELDS))
                columns = {field: table[field].to_pylist() for field in FIELDS}
            except (OSError, KeyError, pyarrow.ArrowException) as error:
                raise UserError(f"{path}: cannot be read as MASSIVE's Parquet ({error})") from error
            names = _class_names(table.schema, "intent")
            if names is not None:
                columns["intent"] = [names.get(value) for value in columns["intent"]]
            for number, values in enumerate(zip(*columns.values(), strict=True), 1):
                yield f"{path}, row {number}", values

    def _folder(self, locale: str) -> Path:
        if Path(self._hub_id).is_dir():
            return Path(self._hub_id)
        from huggingface_hub import snapshot_download

        settle_hub()
        try:
            folder = snapshot_download(
                self._hub_id, repo_type="dataset", revision=self._revision, allow_patterns=[f"{locale}/*.parquet"]
            )
        except Exception as error:  # many exception types: DNS, proxy, login, revision, cache
            lines = str(error).strip().splitlines() or [""]
            raise self._out_of_reach(locale, f"{type(error).__name__}: {lines[0]}") from error
        return Path(folder)

    def _out_of_reach(self, locale: str, reason: str) -> UserError:
        return UserError(
            f"MASSIVE's {locale} cannot be downloaded from the hub ({self._hub_id}, {self._revision}; {reason}): check "
            "the network connection, or use an unpacked release with --data-dir, or the embedded corpus with "
            "--corpus cldr"
        )


def _class_names(schema: Any, field: str) -> dict[Any, str] | None:
    """Returns the class names of a column by index, from the metadata of `datasets`; None for text columns."""
    notes = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    names = notes.get("info", {}).get("features", {}).get(field, {}).get("names")
    return None if names is None else dict(enumerate(names))
