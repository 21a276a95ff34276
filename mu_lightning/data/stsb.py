"""STS-B: sentence pairs with human similarity judgments from 0 to 5, in English and nine translations.

The STS benchmark is of Cer et al. 2017 (arXiv:1708.00055), its machine translations are stsb_multi_mt
(https://github.com/PhilipMay/stsb-multi-mt). They are read from the Parquet files of the Hugging Face hub, or from the
releases' own files: the benchmark's ``sts-test.csv`` (separated by tabs, no quotes) and the translations'
``stsb-de-test.csv`` (separated by commas, no header).
"""

import csv
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mu_lightning.data.corpus import SPLITS, Split
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.hub import settle_hub

HUB_ID = "PhilipMay/stsb_multi_mt"
# Languages of stsb_multi_mt by locale.
LANGUAGES = {
    "de-DE": "de",
    "en-US": "en",
    "es-ES": "es",
    "fr-FR": "fr",
    "it-IT": "it",
    "nl-NL": "nl",
    "pl-PL": "pl",
    "pt-PT": "pt",
    "ru-RU": "ru",
    "zh-CN": "zh",
}
HIGHEST = 5.0  # maximum score
_SCORE_COLUMNS = ("similarity_score", "score")
_PLACES = (".", "data", "stsbenchmark")  # locations of the files relative to the given directory

Record = tuple[str, Any, Any, Any]
"""Location of a pair, for error messages, its sentences and its score."""


@dataclass(frozen=True)
class Pairs:
    """Sentence pairs of a split, in the order of the file; all sequences have the same length.

    Attributes:
        first: first sentences.
        second: second sentences.
        scores: mean human similarity judgments, 0 to 5.
    """

    first: Sequence[str]
    second: Sequence[str]
    scores: Sequence[float]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def ids(self) -> list[str]:
        """Indices of the pairs, which are parallel across translations."""
        return [str(number) for number in range(len(self))]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of all sentences and scores."""
        digest = hashlib.sha256()
        for pair in zip(self.first, self.second, self.scores, strict=True):
            digest.update("\x1f".join(map(str, pair)).encode() + b"\x1e")
        return digest.hexdigest()


class Stsb:
    """STS-B from a release or from the hub.

    Args:
        data_dir: folder with ``sts-<split>.csv`` or ``stsb-<language>-<split>.csv``, or its parent.
        hub_id: dataset on the hub, or a folder with the same layout, if `data_dir` is not given.

    Raises:
        UserError: `data_dir` is not a folder.
    """

    name = "stsb"
    locales = tuple(LANGUAGES)

    def __init__(self, data_dir: Path | None = None, hub_id: str = HUB_ID) -> None:
        if data_dir is not None and not data_dir.is_dir():
            raise UserError(f"--data-dir {data_dir} is not a directory")
        self._data_dir, self._hub_id = data_dir, hub_id

    def pairs(self, locale: str, split: Split = "test") -> Pairs:
        """Returns the pairs of a split.

        Raises:
            UserError: unknown locale or split, unreachable hub, or an invalid file.
        """
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        if locale not in LANGUAGES:
            raise UserError(f"STS-B has no locale '{locale}': it has {', '.join(LANGUAGES)}")
        language = LANGUAGES[locale]
        records = self._from_hub(language, split) if self._data_dir is None else self._from_files(language, split)
        return _checked(records)

    def _from_files(self, language: str, split: Split) -> Iterator[Record]:
        assert self._data_dir is not None
        names = [f"stsb-{language}-{split}.csv"] + ([f"sts-{split}.csv"] if language == "en" else [])
        paths = [self._data_dir / place / name for place in _PLACES for name in names]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise UserError(
                f"{self._data_dir} has no {' or '.join(names)}: looked in it, in data/ and in stsbenchmark/; unpack "
                "Stsbenchmark.tar.gz or stsb_multi_mt's data there or name another directory"
            )
        original = path.name.startswith("sts-")
        with path.open(encoding="utf-8", newline="") as lines:
            # Some lines of the original have two more fields with the sources.
            table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if original else csv.reader(lines)
            try:
                for fields in table:
                    where = f"{path}, line {table.line_num}"
                    wanted = (5, 6, 4) if original else (0, 1, 2)
                    if len(fields) <= max(wanted) or (not original and len(fields) > 3):
                        raise UserError(
                            f"{where}: {len(fields)} fields separated by {'tabs' if original else 'commas'}, "
                            f"expected {'at least 7' if original else '3: two sentences and a score'}"
                        )
                    first, second, score = (fields[place] for place in wanted)
                    yield where, first, second, score
            except (UnicodeDecodeError, csv.Error) as error:
                raise UserError(f"{path}, after line {table.line_num}: cannot be read ({error})") from error

    def _from_hub(self, language: str, split: Split) -> Iterator[Record]:
        import pyarrow
        from pyarrow import parquet

        folder = self._folder(language)
        part = "validation" if split == "dev" else split
        names = {split, part}
        # One folder per language, unless the dataset is English only.
        inner = folder / language
        paths = sorted(
            path
            for path in (inner if inner.is_dir() else folder if language == "en" else inner).rglob("*.parquet")
            if path.name.split("-")[0].split(".")[0] in names or path.parent.name in names
        )
        if not paths:
            raise self._out_of_reach(language, f"it has no Parquet files of '{language}' for {split}")
        for path in paths:
            try:
                table = parquet.read_table(path)
                score = next((name for name in _SCORE_COLUMNS if name in table.column_names), _SCORE_COLUMNS[0])
                columns = [table[name].to_pylist() for name in ("sentence1", "sentence2", score)]
            except (OSError, KeyError, pyarrow.ArrowException) as error:
                raise UserError(f"{path}: cannot be read as STS-B's Parquet ({error})") from error
            for number, values in enumerate(zip(*columns, strict=True), 1):
                yield f"{path}, row {number}", *values

    def _folder(self, language: str) -> Path:
        if Path(self._hub_id).is_dir():
            return Path(self._hub_id)
        from huggingface_hub import snapshot_download

        settle_hub()
        patterns = [f"{language}/*.parquet", f"{language}/**/*.parquet"]
        patterns += ["data/*.parquet", "default/**/*.parquet"] if language == "en" else []
        try:
            return Path(snapshot_download(self._hub_id, repo_type="dataset", allow_patterns=patterns))
        except Exception as error:  # many exception types: DNS, proxy, login, cache
            lines = str(error).strip().splitlines() or [""]
            raise self._out_of_reach(language, f"{type(error).__name__}: {lines[0]}") from error

    def _out_of_reach(self, language: str, reason: str) -> UserError:
        return UserError(
            f"cannot download STS-B '{language}' from the hub ({self._hub_id}; {reason}): check the network "
            f"connection, or use an unpacked release with --data-dir: a folder with "
            f"stsb-{language}-test.csv{' or sts-test.csv' if language == 'en' else ''}"
        )


def _checked(records: Iterator[Record]) -> Pairs:
    first, second, scores = [], [], []
    where = ""
    for where, one, other, score in records:
        for sentence in (one, other):
            if not isinstance(sentence, str) or not sentence.strip():
                raise UserError(f"{where}: a sentence is missing or empty")
        try:
            value = float(score)
        except (TypeError, ValueError):
            value = math.nan
        if not 0 <= value <= HIGHEST:
            raise UserError(f"{where}: the score '{score}' is not a number from 0 to {HIGHEST:g}")
        first.append(one)
        second.append(other)
        scores.append(value)
    if len(set(scores)) < 2:
        raise UserError(f"{where or 'the file'}: fewer than two distinct scores: rank correlation is undefined")
    return Pairs(first, second, scores)
