"""Reads the typological tables inside the installed `lang2vec` and `urielplus` packages, without importing either.

`lang2vec`'s module needs a `pkg_resources` that today's setuptools no longer has, and `urielplus` imports half of the
scientific stack; both carry their data as plain files. Every reader returns one row a language, given as the codes to
try in order, and NaN for what the database does not know; a language of which it knows nothing is a row of NaN.

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
    """Where an installed package keeps a data file, found without importing the package.

    Not through `importlib.resources`, which imports it: `lang2vec` installs a script ``bin/lang2vec.py``, and a program
    that is started from that folder (``bin/pytest``, ``bin/mu-lightning``) would import the script.

    Raises:
        UserError: the package is not installed, or has no such file.
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
            # Binary tables write an unknown language as a row of zeros: no cosine can be taken of that either.
            if row is not None and np.any(np.nan_to_num(row)):
                result[index] = row
                break
    return result


def npz_table(package: str, *path: str, prefix: str, codes: Codes) -> tuple[list[str], np.ndarray]:
    """The features of a URIEL archive whose names start with `prefix`.

    Args:
        package: the package that carries the archive.
        *path: the archive's path in it.
        prefix: as in ``S_`` for syntax; empty for all.
        codes: for each language its ISO 639-3 codes, in the order to try them.

    Returns:
        The features' names, and their values (languages, features). Where several sources of the archive know a
        feature, the largest value counts, which is URIEL's union.

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
        union = data[rows[code], columns].max(axis=1).astype(np.float64)  # -1 is unknown, and below every value
        return np.where(union < 0, np.nan, union)

    return [names[column] for column in columns], _first_with_data(codes, len(columns), row_of)


def grambank_table(prefix: str, codes: Codes) -> tuple[list[str], np.ndarray]:
    """Grambank's features under URIEL's names, as URIEL+ distributes them; arguments and result as of `npz_table`."""
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
    """Loads NumPy arrays, dictionaries, lists, numbers and strings, and refuses whatever else a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        # NumPy's pickles name what builds an array; the module that it is in has moved since they were written.
        if module in ("numpy.core.multiarray", _BUILD_ARRAY.__module__) and name == _BUILD_ARRAY.__name__:
            return _BUILD_ARRAY
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def _latin1(text: str, encoding: str) -> bytes:
    # Python 2's pickles carry bytes as latin-1 text; any other codec is none of our business.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding} is not allowed")
    return text.encode("latin1")


def learned_table(codes: Codes) -> np.ndarray:
    """The vectors that a massively multilingual translation model learned of its languages, shape (languages, 512).

    The file is a pickled dictionary; it is read by an unpickler that admits plain arrays alone.

    Raises:
        UserError: the file is missing or holds anything but plain data.
    """
    with data_file("lang2vec", "data", "learned.npy").open("rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"NumPy format {version}")
            np.lib.format.read_array_header_1_0(file)
            vectors = _PlainArrays(file).load().item()
        except (pickle.UnpicklingError, ValueError, AttributeError) as error:
            raise UserError(f"lang2vec's learned.npy is not the plain data it should be: {error}") from error
    known = {code: np.asarray(vector, dtype=np.float64) for code, vector in vectors.items() if code != "langs"}
    return _first_with_data(codes, _LEARNED_WIDTH, known.get)
