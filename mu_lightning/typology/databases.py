"""Reads the typological tables inside the installed `lang2vec` and `urielplus` packages, without importing either.

`lang2vec` needs `pkg_resources`, which current versions of setuptools lack, and `urielplus` imports many packages; both
have their data as plain files. Every reader returns one row per language, given as codes in order of preference, with
NaN for missing values; an unknown language is a row of NaN.

Sources: URIEL and lang2vec (Littell et al. 2017, https://aclanthology.org/E17-2002), the learned vectors (Malaviya et
al. 2017, https://arxiv.org/abs/1707.09569), URIEL+ (Khan et al. 2024, https://arxiv.org/abs/2409.18472).
"""

import csv
import pickle
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.utilities.errors import UserError

Codes = Sequence[Sequence[str]]

_LEARNED_WIDTH = 512
_BUILD_ARRAY: Any = np.empty(0).__reduce__()[0]
_URIEL_PLUS_CSVS = ("database", "urielplus_csvs")


def data_file(package: str, *path: str) -> Path:
    """Locates a data file of an installed package without importing the package.

    `importlib.resources` would import it: `lang2vec` installs a script ``bin/lang2vec.py``, which a program in that
    folder (``bin/pytest``, ``bin/mu-lightning``) would import instead.

    Raises:
        UserError: the package is not installed, or the file is missing.
    """
    try:
        found = Path(str(distribution(package).locate_file(Path(package, *path))))
    except PackageNotFoundError as error:
        raise UserError(f"the typological data of '{package}' is missing: pip install {package}") from error
    if not found.is_file():
        raise UserError(
            f"the installed '{package}' has no data file {'/'.join(path)}: install the version in constraints.txt"
        )
    return found


def _first_with_data(codes: Codes, width: int, row_of: Callable[[str], np.ndarray | None]) -> np.ndarray:
    result = np.full((len(codes), width), np.nan)
    for index, alternatives in enumerate(codes):
        for code in alternatives:
            row = row_of(code)
            # Binary tables have rows of zeros for unknown languages, for which cosine similarity is undefined.
            if row is not None and np.any(np.nan_to_num(row)):
                result[index] = row
                break
    return result


def npz_table(package: str, *path: str, prefix: str, codes: Codes) -> tuple[list[str], np.ndarray]:
    """Reads the features of a URIEL archive whose names start with a prefix.

    Args:
        package: package with the archive.
        *path: path of the archive in the package.
        prefix: prefix, such as ``S_`` for syntax; empty for all features.
        codes: ISO 639-3 codes of each language, in order of preference.

    Returns:
        Feature names, and values of shape (languages, features). If several sources have a feature, the maximum is
        used, as in URIEL's union.

    Raises:
        UserError: the package or its file is missing.
    """
    with np.load(data_file(package, *path), allow_pickle=False) as archive:
        names = [str(name) for name in archive["feats"]]
        rows = {str(code): row for row, code in enumerate(archive["langs"])}
        data = archive["data"]
    columns = [column for column, name in enumerate(names) if name.startswith(prefix)]

    def row_of(code: str) -> np.ndarray | None:
        if code not in rows:
            return None
        union = data[rows[code], columns].max(axis=1).astype(np.float64)  # -1 marks missing values
        return np.where(union < 0, np.nan, union)

    return [names[column] for column in columns], _first_with_data(codes, len(columns), row_of)


def grambank_table(prefix: str, codes: Codes) -> tuple[list[str], np.ndarray]:
    """Reads Grambank's features with URIEL's names, as distributed by URIEL+; see `npz_table`."""
    with data_file("urielplus", *_URIEL_PLUS_CSVS, "uriel_glottocode_map.csv").open(encoding="utf-8") as lines:
        glottocodes = {row["iso_code"]: row["glottocode"] for row in csv.DictReader(lines)}
    wanted = {glottocodes.get(code) for alternatives in codes for code in alternatives}
    with data_file("urielplus", *_URIEL_PLUS_CSVS, "grambank_data.csv").open(encoding="utf-8") as lines:
        reader = csv.reader(lines)
        header = next(reader)
        table = {row[0]: row for row in reader if row[0] in wanted}
    columns = [column for column, name in enumerate(header) if name.startswith(prefix)]

    def row_of(code: str) -> np.ndarray | None:
        row = table.get(glottocodes.get(code, ""))
        if row is None:
            return None
        values = np.array([float(row[column]) for column in columns])
        return np.where(values < 0, np.nan, values)

    return [header[column] for column in columns], _first_with_data(codes, len(columns), row_of)


class _PlainArrays(pickle.Unpickler):
    """Unpickles NumPy arrays, dictionaries, lists, numbers and strings only."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        # The module of NumPy's array constructor has been renamed since the file was written.
        if module in ("numpy.core.multiarray", _BUILD_ARRAY.__module__) and name == _BUILD_ARRAY.__name__:
            return _BUILD_ARRAY
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def _latin1(text: str, encoding: str) -> bytes:
    # Python 2 pickles store bytes as latin-1 text.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding} is not allowed")
    return text.encode("latin1")


def learned_table(codes: Codes) -> np.ndarray:
    """Reads the language vectors of a multilingual translation model, shape (languages, 512).

    The file is a pickled dictionary; the unpickler accepts plain arrays only.

    Raises:
        UserError: the file is missing, or contains other objects.
    """
    with data_file("lang2vec", "data", "learned.npy").open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"NumPy format {version}")
            np.lib.format.read_array_header_1_0(file)
            vectors = _PlainArrays(file).load().item()
        except (pickle.UnpicklingError, ValueError, AttributeError) as error:
            raise UserError(f"lang2vec's learned.npy contains unexpected objects: {error}") from error
    known = {code: np.asarray(vector, dtype=np.float64) for code, vector in vectors.items() if code != "langs"}
    return _first_with_data(codes, _LEARNED_WIDTH, known.get)
