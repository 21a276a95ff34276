"""The N-by-N matrix on the disk: every source model scored on every locale's split.

Its folder holds

- ``nxn.json``: corpus, split, fingerprints, models, locales; written first: an unfinished matrix is known as one;
- ``rows/<source>/``: a source model's results on every locale, with its predictions; the unit that a run resumes by;
- ``evaluation_matrix.csv``: a row a source model (its locale first), a column a locale, accuracies;
- ``evaluation_matrix.parquet``: the same as a long table with macro-F1, rows and interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mu_lightning.results.results import Predictions, read_predictions
from mu_lightning.results.store import MATRIX, MAX_RECORD, NXN, RESULTS, read_cells
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.reading import read_csv_rows, read_json_object

LONG, ROWS = "evaluation_matrix.parquet", "rows"
MAX_NAMES = 2000  # rows or columns


@dataclass(frozen=True, eq=False)
class NByN:
    """Accuracies of source models on locales.

    Attributes:
        folder: where it is stored.
        sources: the source models' locales: the rows.
        locales: the columns.
        accuracy: (sources, locales), float64, 0 to 1; NaN where a cell is missing.
        corpus: the corpus' name, None where it is not known.
        split: the split that was scored, None where it is not known.
        missing: the sources whose rows are not there yet.
        damaged: source -> what is wrong with its row; its accuracies are NaN.
        manifest: what ``nxn.json`` says.
        calibration_error: expected calibration errors, as `accuracy`; NaN where they are not known.
    """

    folder: Path
    sources: tuple[str, ...]
    locales: tuple[str, ...]
    accuracy: np.ndarray
    corpus: str | None = None
    split: str | None = None
    missing: tuple[str, ...] = ()
    damaged: Mapping[str, str] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    calibration_error: np.ndarray | None = None

    def column(self, target: str) -> dict[str, float]:
        """Source -> its accuracy on `target`, without the sources that have none.

        Raises:
            UserError: the matrix has no column for `target`.
        """
        if target not in self.locales:
            raise UserError(
                f"the N-by-N matrix in {self.folder} has no column for {target}: it has {', '.join(self.locales)}"
            )
        values = self.accuracy[:, self.locales.index(target)]
        return {name: float(value) for name, value in zip(self.sources, values, strict=True) if not np.isnan(value)}

    def zero_shot(self, target: str) -> dict[str, float]:
        """The same without the target's own model; raises UserError where nothing is left."""
        others = {name: value for name, value in self.column(target).items() if name != target}
        if not others:
            raise UserError(f"the N-by-N matrix in {self.folder} has no source other than {target} itself")
        return others

    def predictions(self, source: str, locale: str) -> Predictions:
        """Reads what the model of `source` predicted on `locale`; raises UserError where that is not stored."""
        for kind, name, names in (("source", source, self.sources), ("locale", locale, self.locales)):
            if name not in names:
                raise unknown(f"{kind} of the N-by-N matrix", name, names)
        row = self.folder / ROWS / source
        try:
            results = read_json_object(row / RESULTS, max_bytes=MAX_RECORD)["results"]
            place = [result["locale"] for result in results].index(locale)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"the N-by-N matrix in {self.folder} holds no predictions of {source} on {locale}"
            ) from error
        (found,) = read_predictions(row, [place])
        return found

    def row(self, source: str) -> dict[str, Predictions]:
        """What the model of `source` predicted, by locale; empty where no predictions of it are stored."""
        folder = self.folder / ROWS / source
        if source in self.damaged or not (folder / RESULTS).is_file():
            return {}
        results = read_json_object(folder / RESULTS, max_bytes=MAX_RECORD)["results"]
        found = read_predictions(folder, range(len(results)))
        return {result["locale"]: one for result, one in zip(results, found, strict=True)}


def read_nxn(folder: Path) -> NByN:
    """Reads an N-by-N folder, finished or not; `folder` may also be the CSV file itself.

    Raises:
        UserError: there is no matrix, or it cannot be read.
    """
    if folder.is_file():
        return _from_csv(folder.parent, folder)
    if (folder / NXN).is_file():
        return _from_rows(folder)
    if (folder / MATRIX).is_file():
        return _from_csv(folder, folder / MATRIX)
    raise UserError(f"no N-by-N matrix in {folder}: it has no {NXN} and no {MATRIX}; the command nxn writes it")


def _from_rows(folder: Path) -> NByN:
    manifest = read_json_object(folder / NXN, max_bytes=MAX_RECORD)
    sources, locales = (tuple(_names(folder / NXN, manifest, key)) for key in ("sources", "locales"))
    corpus, split = manifest.get("corpus"), manifest.get("split")
    accuracy, errors = (np.full((len(sources), len(locales)), np.nan) for _ in range(2))
    missing, damaged = [], {}
    for place, source in enumerate(sources):
        row = folder / ROWS / source
        if not (row / RESULTS).exists():
            missing.append(source)
            continue
        try:
            found = {cell.target: cell for cell in read_cells(row)}
            accuracy[place] = [found[tag].accuracy for tag in locales]
            errors[place] = [np.nan if (error := found[tag].calibration_error) is None else error for tag in locales]
        except (UserError, KeyError) as error:
            damaged[source] = str(error)
    return NByN(folder, sources, locales, accuracy, corpus, split, tuple(missing), damaged, manifest, errors)


def _names(path: Path, manifest: Mapping[str, Any], key: str) -> list[str]:
    """The names of rows or columns: of folders, each once."""
    names = manifest.get(key)
    if (
        not isinstance(names, list)
        or len(names) > MAX_NAMES
        or not all(isinstance(name, str) and "/" not in name for name in names)
        or len(set(names)) < len(names)
    ):
        raise UserError(f"{path} does not say which {key} the matrix has: expected at most {MAX_NAMES} names")
    return names


def _from_csv(folder: Path, path: Path) -> NByN:
    header, *rows = [row.cells for row in read_csv_rows(path)]
    try:
        accuracy = np.array([[float(value or "nan") for value in row[1:]] for row in rows], dtype=np.float64)
        accuracy = accuracy.reshape(len(rows), len(header) - 1)
    except ValueError as error:
        raise UserError(
            f"{path} is no N-by-N matrix: expected a header of locales and a row of accuracies a source model ({error})"
        ) from error
    outside = accuracy[(accuracy < 0) | (accuracy > 1)]
    if outside.size:
        raise UserError(f"{path}: accuracies are expected between 0 and 1, found {outside[0]:g}")
    return NByN(folder, tuple(row[0] for row in rows), tuple(header[1:]), accuracy)
