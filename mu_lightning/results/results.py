"""What a run found, on the terminal and on the disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import ZipFile

import numpy as np

from mu_lightning.evaluation.metrics import Scores
from mu_lightning.results.identity import Identity
from mu_lightning.results.naming import names
from mu_lightning.results.provenance import versions
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, write_json, write_text
from mu_lightning.utilities.tables import markdown_table, markdown_text, text_table

Supervision = Literal["none", "source-dev", "target-unlabelled", "target-dev-labels", "target-labels"]

PREDICTIONS, TABLE = "predictions.npz", "results.md"
MAX_PREDICTIONS = 512 * 2**20  # bytes, unpacked; 100,000 rows of 52 locales need 200 MB

HEADER = ("", "locale", "accuracy", "95 % interval", "macro-F1", "target's labels used")
_USE = {
    "none": "none",
    "source-dev": "none (sources' dev)",
    "target-unlabelled": "none (its text)",
    "target-dev-labels": "dev",
    "target-labels": "train",
}


@dataclass(frozen=True)
class Result:
    """One way to classify, scored on one locale's test split.

    Attributes:
        identity: what it is of.
        scores: how it did.
        supervision: what of the scored locale it has looked at.
        details: anything else worth keeping, as plain values, such as merge weights.
        note: what its line in a table says beside its name.
    """

    identity: Identity
    scores: Scores
    supervision: Supervision = "none"
    details: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def row(self, name: str) -> tuple[str, ...]:
        """Its line in a table."""
        shown = f"{name} ({self.note})" if self.note else name
        low, high = self.scores.interval
        if not self.scores.scored:
            why = "no labels" if len(self.scores.ids) else "no rows"
            return (shown, self.scores.locale, "not scored", why, "", _USE[self.supervision])
        return (
            shown,
            self.scores.locale,
            f"{self.scores.accuracy:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{self.scores.macro_f1:.3f}",
            _USE[self.supervision],
        )


class Predictions(NamedTuple):
    """What was predicted, one entry a row of the split, in the split's order; each of shape (rows,)."""

    ids: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray


def show(results: Sequence[Result]) -> str:
    """The results as a table for the terminal; with the expected calibration error, where it was computed."""
    return text_table(*_table(results))


def _table(results: Sequence[Result]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows; ECE is left out if no result has it, such as those of earlier versions."""
    called = names([result.identity for result in results])
    rows = [result.row(name) for name, result in zip(called, results, strict=True)]
    errors = [result.scores.calibration_error for result in results]
    if not any(error is not None for error in errors):
        return HEADER, rows
    shown = ["" if error is None else f"{error:.3f}" for error in errors]
    after = HEADER.index("macro-F1")
    header = (*HEADER[:after], "ECE", *HEADER[after:])
    return header, [(*row[:after], error, *row[after:]) for row, error in zip(rows, shown, strict=True)]


def write_results(folder: Path, results: Sequence[Result], provenance: Mapping[str, Any]) -> None:
    """Writes ``results.json``, ``predictions.npz`` and ``results.md`` into `folder`; the JSON, last, marks it whole.

    ``predictions.npz`` holds, for each result's number i, ``ids_i``, ``labels_i`` and ``predictions_i``.
    """
    arrays = {
        f"{column}_{place}": getattr(result.scores, column)
        for place, result in enumerate(results)
        for column in ("ids", "labels", "predictions")
    }
    with atomic_file(folder / PREDICTIONS) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    header, rows = _table(results)
    write_text(folder / TABLE, markdown_table(header, [[*map(markdown_text, row)] for row in rows]))
    summaries = [
        {
            "name": result.identity.label,
            "identity": result.identity.plain(),
            "supervision": result.supervision,
            **result.scores.summary(),
            **result.details,
        }
        for result in results
    ]
    write_json(folder / "results.json", {"results": summaries, **provenance, "versions": versions()})


def read_predictions(folder: Path, places: Sequence[int]) -> list[Predictions]:
    """The predictions of a folder's results of these numbers; raises UserError where they cannot be read."""
    try:
        with ZipFile(folder / PREDICTIONS) as archive:
            names = [[f"{column}_{place}.npy" for column in Predictions._fields] for place in places]
            size = sum(archive.getinfo(name).file_size for group in names for name in group)
            if size > MAX_PREDICTIONS:
                raise ValueError(f"it unpacks to {size:,} bytes; at most {MAX_PREDICTIONS:,} are read")
            return [Predictions(*(_column(archive, name) for name in group)) for group in names]
    except Exception as error:  # zipfile and zlib raise many kinds for a damaged file
        raise UserError(f"{PREDICTIONS} cannot be read ({type(error).__name__}: {error})") from error


def _column(archive: ZipFile, name: str) -> np.ndarray:
    """A one-dimensional array in an archive of NumPy's, whose size is checked before it is unpacked."""
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        size = archive.getinfo(name).file_size - stream.tell()
        if len(shape) != 1 or dtype.hasobject or shape[0] * dtype.itemsize != size:
            raise ValueError(f"{name} holds no column of {size:,} bytes, but shape {shape} of {dtype}")
        return np.frombuffer(stream.read(), dtype=dtype)
