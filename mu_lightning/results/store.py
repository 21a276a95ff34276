"""Reads a folder of results back: every way to classify that was scored, what failed, and what is damaged.

A results folder holds cells, each a folder at any depth:

- ``results.json``, written last, marks it whole: ``results`` (each with its ``identity`` and scores), ``cost``,
  ``recipe`` (where its models and data lay), ``fingerprints`` and ``versions``;
- ``predictions.npz``: for each result's number i ``ids_i``, ``labels_i`` and ``predictions_i``;
- ``merge_details.txt`` where a merge was made;
- instead of all these ``error.json`` where the cell failed.

The run folders of `fit`, `test` and `validate` are read too.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mu_lightning.evaluation.metrics import Scores
from mu_lightning.results.identity import Identity, read_identity
from mu_lightning.results.naming import names
from mu_lightning.results.results import PREDICTIONS, Predictions, Result, read_predictions
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

if TYPE_CHECKING:
    import pandas

RESULTS, ERROR, MERGE_DETAILS = "results.json", "error.json", "merge_details.txt"
NXN, MATRIX = "nxn.json", "evaluation_matrix.csv"
MAX_RECORD = 16 * 2**20  # bytes of a JSON file
MAX_FOLDERS = 200_000
_SCORES = (
    *("name", "identity", "supervision", "locale", "accuracy", "macro_f1", "interval", "calibration_error", "rows"),
    "weights",
)
# Of results whose file says not what they are of.
OLD = (
    "was written by an earlier version, whose results do not say which approach with which parameters they are of: run "
    "the command again in another --output-dir, or read it with mu-lightning 0.1.0"
)


@dataclass(frozen=True)
class Cost:
    """What a result took.

    Attributes:
        seconds: wall time of making and scoring it, without what it shared with others (loading, sources' logits).
        peak_bytes: the process' largest resident memory up to its end; None where it is not known.
        model_bytes: size of the parameters that classify: one model's, or all members' of an ensemble.
    """

    seconds: float | None = None
    peak_bytes: int | None = None
    model_bytes: int | None = None


@dataclass(frozen=True)
class StoredCell:
    """One way to classify one locale, scored and stored.

    Attributes:
        folder: where it is stored.
        place: its number among the results of that folder.
        identity: what it is of.
        accuracy: share of rows predicted right, 0 to 1.
        macro_f1: 0 to 1.
        interval: 95 % interval of the accuracy.
        calibration_error: expected calibration error, 0 to 1; None in results of earlier versions.
        rows: how many rows were scored.
        supervision: what was looked at of the target: ``none``, ``target-unlabelled``, ``target-dev-labels`` or
            ``target-labels``.
        weights: source -> weight, where there are weights.
        details: anything else that the result says of itself.
        cost: what it took.
        recipe: where the models, base and data lay that it was made from.
        fingerprints: locale -> split -> SHA-256 of the rows, and of the models.
        versions: of the project and of the packages that decide results.
    """

    folder: Path
    place: int
    identity: Identity
    accuracy: float
    macro_f1: float
    interval: tuple[float, float]
    rows: int
    calibration_error: float | None = None
    supervision: str = "none"
    weights: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The locale that was scored."""
        return self.identity.target

    @property
    def kind(self) -> str:
        """Its approach's name in the registry, or ``model`` for any model folder that was tested."""
        return self.identity.kind

    @property
    def seed(self) -> int:
        """Of its trainings and of what it drew."""
        return self.identity.seed

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources' locales, in order."""
        return self.identity.sources

    @property
    def preweight(self) -> str | None:
        """Where the sources' weights came from; None where it has none."""
        found: str | None = self.identity.get("preweight")
        return found

    @property
    def method(self) -> str | None:
        """The merge method, of a merge made once or while training."""
        found: str | None = (self.identity.get("merge") or {}).get("method") or self.identity.get("method")
        return found

    @property
    def corpus(self) -> str | None:
        """The corpus' name."""
        found: str | None = self.identity.problem["data"]["corpus"]
        return found

    @property
    def split(self) -> str:
        """The rows that were scored."""
        return str(self.identity.problem["split"])

    def predictions(self) -> Predictions:
        """Reads the predictions; they are not kept."""
        (found,) = read_predictions(self.folder, [self.place])
        return found

    def result(self, note: str = "") -> Result:
        """Itself as it was before it was stored; its predictions are read.

        Args:
            note: what its line in a table says beside its name.
        """
        scores = Scores(
            *(self.target, *self.predictions(), self.accuracy, self.macro_f1, self.interval, self.calibration_error)
        )
        return Result(self.identity, scores, self.supervision, self.details, note)  # type: ignore[arg-type]

    @property
    def merge_details(self) -> str | None:
        """The text of ``merge_details.txt``, None where no merge was made."""
        path = self.folder / MERGE_DETAILS
        return path.read_text(encoding="utf-8") if path.is_file() else None


@dataclass(frozen=True)
class Failure:
    """A cell that was tried and failed: its folder, the error's one line, what it was, and where it happened."""

    folder: Path
    error: str
    cell: Mapping[str, Any]
    traceback: str


@dataclass(frozen=True)
class Damage:
    """A folder whose result is not whole, and what is wrong with it; it has no part in any average."""

    folder: Path
    reason: str


@dataclass(frozen=True)
class Store:
    """What a results folder holds.

    Attributes:
        folder: the results folder.
        cells: every whole result, by folder and place.
        failed: what failed.
        damaged: what is unreadable or half-written.
        matrices: the N-by-N folders in it (see `mu_lightning.results.matrix.read_nxn`); their rows are no cells.
    """

    folder: Path
    cells: tuple[StoredCell, ...]
    failed: tuple[Failure, ...]
    damaged: tuple[Damage, ...]
    matrices: tuple[Path, ...]

    def table(self) -> "pandas.DataFrame":
        """The cells as a data frame, one a row; predictions stay on the disk."""
        import pandas

        called = names([cell.identity for cell in self.cells])
        rows = [
            {
                "target": cell.target,
                "name": name,
                "approach": cell.kind,
                "method": cell.method,
                "preweight": cell.preweight,
                "vote": cell.identity.get("vote_method"),
                "num_languages": len(cell.sources),
                "seed": cell.seed,
                "corpus": cell.corpus,
                "split": cell.split,
                "base": cell.identity.problem["base"],
                "sources": " ".join(cell.sources),
                "weights": json.dumps(dict(cell.weights)),
                "supervision": cell.supervision,
                "accuracy": cell.accuracy,
                "low": cell.interval[0],
                "high": cell.interval[1],
                "macro_f1": cell.macro_f1,
                "calibration_error": cell.calibration_error,
                "rows": cell.rows,
                "seconds": cell.cost.seconds,
                "peak_bytes": cell.cost.peak_bytes,
                "model_bytes": cell.cost.model_bytes,
                "identity": cell.identity.digest,
                "folder": cell.folder.relative_to(self.folder).as_posix(),
            }
            for name, cell in zip(called, self.cells, strict=True)
        ]
        return pandas.DataFrame(rows)


def read_store(folder: Path) -> Store:
    """Reads every cell under `folder`, checking each against its predictions.

    Raises:
        UserError: there is no such folder, or nothing in it is a result, a failure or a damaged result.
    """
    if not folder.is_dir():
        raise UserError(f"no results: there is no folder {folder}")
    cells: list[StoredCell] = []
    failed: list[Failure] = []
    damaged: list[Damage] = []
    matrices: list[Path] = []
    for place in _folders(folder):
        try:
            if is_matrix(place):
                matrices.append(place)
            elif (place / RESULTS).is_file():
                cells += read_cells(place)
            elif (place / ERROR).is_file():
                failed.append(_failure(place))
            elif (place / PREDICTIONS).is_file():
                raise UserError(f"half-written: it has {PREDICTIONS} but no {RESULTS}")
            elif (place / "manifest.json").is_file():
                raise UserError(f"an unfinished run: it has a manifest.json but no {RESULTS}")
            os.scandir(place).close()  # that it cannot be looked into is worth telling
        except UserError as error:
            damaged.append(Damage(place, str(error)))
        except OSError as error:
            damaged.append(Damage(place, f"it cannot be read: {error.strerror}"))
    if not (cells or failed or damaged or matrices):
        raise UserError(
            f"no results in {folder}: it has no {RESULTS} at any depth; 'sweep', 'ensemble', 'fit' and 'test' write "
            "them, with --output-dir"
        )
    return Store(folder, tuple(cells), tuple(failed), tuple(damaged), tuple(matrices))


def read_cells(folder: Path) -> list[StoredCell]:
    """The results of one folder, checked.

    Raises:
        UserError: a file is missing or cannot be read, or the predictions do not give the scores.
    """
    record = read_json_object(folder / RESULTS, max_bytes=MAX_RECORD)
    try:
        results = record["results"]
        if any("identity" not in result for result in results):
            raise UserError(f"{folder / RESULTS} {OLD}")
        cells = [
            _cell(folder, place, result, record)
            for place, result in enumerate(results)
            if result["accuracy"] is not None  # a target without labels has predictions and no score
        ]
    except (ArithmeticError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{RESULTS} cannot be read ({type(error).__name__}: {error})") from error
    for cell, found in zip(cells, read_predictions(folder, [cell.place for cell in cells]), strict=True):
        _check(cell, found)
    return cells


def is_matrix(folder: Path) -> bool:
    """Whether `folder` is an N-by-N folder: ours, or one of the old scripts' with the matrix alone."""
    return (folder / NXN).is_file() or (folder / MATRIX).is_file()


def _folders(folder: Path) -> Iterator[Path]:
    """The folder and those below it, without hidden ones, model folders, and what an N-by-N matrix is made of.

    Each is given once, however links lead to it.

    Raises:
        UserError: there are more than `MAX_FOLDERS`.
    """
    waiting, seen = [folder], set[tuple[int, int]]()
    while waiting:
        place = waiting.pop()
        with suppress(OSError):  # what cannot be read has no folders in it, and whoever reads it says so
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
        if len(seen) > MAX_FOLDERS:
            raise UserError(f"{folder} has more than {MAX_FOLDERS:,} folders in it: name the folder of the results")
        yield place
        with suppress(OSError):
            if not is_matrix(place):
                waiting += sorted((child for child in place.iterdir() if _may_hold_results(child)), reverse=True)


def _may_hold_results(folder: Path) -> bool:
    with suppress(OSError):
        return folder.is_dir() and not folder.name.startswith(".") and not (folder / "config.json").exists()
    return True  # it cannot be looked into


def _cell(folder: Path, place: int, result: dict[str, Any], record: dict[str, Any]) -> StoredCell:
    low, high = result["interval"]
    cost = record.get("cost", {})
    found = StoredCell(
        folder=folder,
        place=place,
        identity=read_identity(result["identity"]),
        accuracy=float(result["accuracy"]),
        macro_f1=float(result["macro_f1"]),
        interval=(float(low), float(high)),
        rows=result["rows"],
        calibration_error=result.get("calibration_error"),
        supervision=result["supervision"],
        weights=dict(result.get("weights") or {}),
        details={name: value for name, value in result.items() if name not in _SCORES},
        cost=Cost(**{name: cost.get(name) for name in Cost.__dataclass_fields__}),
        recipe=record.get("recipe", {}),
        fingerprints=record.get("fingerprints", {}),
        versions=record.get("versions", {}),
    )
    _check_types(found)
    return found


def _check_types(cell: StoredCell) -> None:
    """Raises ValueError where a file says what no run writes."""
    error = () if cell.calibration_error is None else (cell.calibration_error,)
    shares = (cell.accuracy, cell.macro_f1, *cell.interval, *error)
    numbers = [*cell.weights.values(), *(value for value in vars(cell.cost).values() if value is not None)]
    expected = {
        str: (cell.target, cell.kind, cell.identity.label, cell.supervision, *cell.sources, *cell.weights),
        str | None: (cell.method, cell.preweight, cell.corpus, cell.split, cell.identity.problem.get("base")),
        int: (cell.rows, cell.seed),
        int | float: numbers,
        dict: (cell.recipe, cell.fingerprints, cell.versions),
    }
    for kind, values in expected.items():
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{str(value)[:40]} is there in place of a {getattr(kind, '__name__', kind)}")
    if not all(0 <= share <= 1 for share in shares) or not all(map(math.isfinite, numbers)):
        raise ValueError("a score, cost or weight is out of range")


def _check(cell: StoredCell, found: Predictions) -> None:
    ids, labels, predictions = found
    label = cell.identity.label
    if not len(ids) == len(labels) == len(predictions) == cell.rows:
        raise UserError(f"{PREDICTIONS} has {len(predictions)} rows for '{label}', {RESULTS} says {cell.rows}")
    accuracy = float(np.mean(labels == predictions)) if cell.rows else float("nan")
    if not abs(accuracy - cell.accuracy) < 1e-9:
        raise UserError(
            f"the predictions of '{label}' have an accuracy of {accuracy:.4f}, {RESULTS} says {cell.accuracy:.4f}"
        )


def _failure(folder: Path) -> Failure:
    record = read_json_object(folder / ERROR, max_bytes=MAX_RECORD)
    error, cell, traceback = record.get("error"), record.get("cell", {}), record.get("traceback", "")
    if not isinstance(error, str) or not isinstance(cell, dict) or not isinstance(traceback, str):
        raise UserError(f"{ERROR} does not say what failed")
    return Failure(folder, error, cell, traceback)
