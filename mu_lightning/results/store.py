"""Reads a folder of results back: every way to classify that was scored, what failed, and what is damaged.

A results folder holds cells, each a folder at any depth:

- ``results.json``, written last, marks it whole: ``results`` (scores), ``cell`` (what was scored), ``cost``, ``recipe``
  (what recomputes it), ``fingerprints`` and ``versions``;
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

from mu_lightning.results.results import PREDICTIONS, Predictions, read_predictions
from mu_lightning.results.run_folders import cells_of_run
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

if TYPE_CHECKING:
    import pandas

RESULTS, ERROR, MERGE_DETAILS = "results.json", "error.json", "merge_details.txt"
NXN, MATRIX = "nxn.json", "evaluation_matrix.csv"
MAX_RECORD = 16 * 2**20  # bytes of a JSON file
MAX_FOLDERS = 200_000
_CELL_FIELDS = ("experiment_type", "method", "preweight", "vote", "num_languages", "seed", "corpus", "split", "base")
_SCORES = ("name", "supervision", "locale", "accuracy", "macro_f1", "interval", "rows", "cell")


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
class Cell:
    """One way to classify one locale, scored.

    Attributes:
        folder: where it is stored.
        place: its number among the results of that folder.
        name: what it is called in tables.
        target: the locale that was scored.
        experiment_type: ``merge``, ``ensemble``, ``iterative``, ``baseline``, ``source`` (a source model alone), or
            ``model`` (any model folder that was tested).
        method: the merge method; of a baseline which (``native``, ``best_source``, ``best_zero_shot``, ``joint`` ...).
        preweight: where the sources' weights came from.
        vote: of an ensemble: how it voted.
        num_languages: how many sources.
        seed: of the run, or of the draw.
        sources: the sources' locales, in order.
        weights: source -> weight, where there are weights.
        corpus: name of the corpus.
        split: the rows that were scored.
        base: name of the base that the sources started from.
        supervision: what was looked at of the target: ``none``, ``target-unlabelled``, ``target-dev-labels`` or
            ``target-labels``.
        accuracy: share of rows predicted right, 0 to 1.
        macro_f1: 0 to 1.
        interval: 95 % interval of the accuracy.
        rows: how many rows were scored.
        details: anything else that the result says of itself.
        cost: what it took.
        recipe: what recomputes it: a verb and its arguments.
        fingerprints: locale -> split -> SHA-256 of the rows, and of the models.
        versions: of the project and of the packages that decide results.
    """

    folder: Path
    place: int
    name: str
    target: str
    experiment_type: str
    accuracy: float
    macro_f1: float
    interval: tuple[float, float]
    rows: int
    supervision: str = "none"
    method: str | None = None
    preweight: str | None = None
    vote: str | None = None
    num_languages: int | None = None
    seed: int | None = None
    sources: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    corpus: str | None = None
    split: str | None = None
    base: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    fingerprints: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def predictions(self) -> Predictions:
        """Reads the predictions; they are not kept."""
        (found,) = read_predictions(self.folder, [self.place])
        return found

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
    cells: tuple[Cell, ...]
    failed: tuple[Failure, ...]
    damaged: tuple[Damage, ...]
    matrices: tuple[Path, ...]

    def table(self) -> "pandas.DataFrame":
        """The cells as a data frame, one a row; predictions stay on the disk."""
        import pandas

        rows = [
            {
                "target": cell.target,
                "name": cell.name,
                **{name: getattr(cell, name) for name in _CELL_FIELDS},
                "sources": " ".join(cell.sources),
                "weights": json.dumps(dict(cell.weights)),
                "supervision": cell.supervision,
                "accuracy": cell.accuracy,
                "low": cell.interval[0],
                "high": cell.interval[1],
                "macro_f1": cell.macro_f1,
                "rows": cell.rows,
                "seconds": cell.cost.seconds,
                "peak_bytes": cell.cost.peak_bytes,
                "model_bytes": cell.cost.model_bytes,
                "folder": cell.folder.relative_to(self.folder).as_posix(),
            }
            for cell in self.cells
        ]
        return pandas.DataFrame(rows)


def read_store(folder: Path) -> Store:
    """Reads every cell under `folder`, checking each against its predictions.

    Raises:
        UserError: there is no such folder, or nothing in it is a result, a failure or a damaged result.
    """
    if not folder.is_dir():
        raise UserError(f"no results: there is no folder {folder}")
    cells: list[Cell] = []
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


def read_cells(folder: Path) -> list[Cell]:
    """The results of one folder, checked.

    Raises:
        UserError: a file is missing or cannot be read, or the predictions do not give the scores.
    """
    record = read_json_object(folder / RESULTS, max_bytes=MAX_RECORD)
    try:
        results = record["results"]
        described = [record["cell"]] * len(results) if "cell" in record else cells_of_run(record)
        cells = [
            _cell(folder, place, result, {**cell, **result.get("cell", {})}, record)
            for place, (result, cell) in enumerate(zip(results, described, strict=True))
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


def _cell(folder: Path, place: int, result: dict[str, Any], cell: dict[str, Any], record: dict[str, Any]) -> Cell:
    low, high = result["interval"]
    cost = record.get("cost", {})
    found = Cell(
        folder=folder,
        place=place,
        name=result["name"],
        target=result["locale"],
        accuracy=float(result["accuracy"]),
        macro_f1=float(result["macro_f1"]),
        interval=(float(low), float(high)),
        rows=result["rows"],
        supervision=result["supervision"],
        **{name: cell.get(name) for name in _CELL_FIELDS if name != "experiment_type"},
        experiment_type=cell["experiment_type"],
        sources=tuple(cell.get("sources") or ()),
        weights=dict(cell.get("weights") or {}),
        details={name: value for name, value in result.items() if name not in _SCORES},
        cost=Cost(**{name: cost.get(name) for name in Cost.__dataclass_fields__}),
        recipe=record.get("recipe", {}),
        fingerprints=record.get("fingerprints", record.get("test_fingerprints", {})),
        versions=record.get("versions", {}),
    )
    _check_types(found)
    return found


def _check_types(cell: Cell) -> None:
    """Raises ValueError where a file says what no run writes."""
    shares = (cell.accuracy, cell.macro_f1, *cell.interval)
    numbers = [*cell.weights.values(), *(value for value in vars(cell.cost).values() if value is not None)]
    expected = {
        str: (cell.name, cell.target, cell.experiment_type, cell.supervision, *cell.sources, *cell.weights),
        str | None: (cell.method, cell.preweight, cell.vote, cell.corpus, cell.split, cell.base),
        int | None: (cell.num_languages, cell.seed),
        int: (cell.rows,),
        int | float: numbers,
        dict: (cell.recipe, cell.fingerprints, cell.versions),
    }
    for kind, values in expected.items():
        for value in values:
            if not isinstance(value, kind) or isinstance(value, bool):
                raise ValueError(f"{str(value)[:40]} is there in place of a {getattr(kind, '__name__', kind)}")
    if not all(0 <= share <= 1 for share in shares) or not all(map(math.isfinite, numbers)):
        raise ValueError("a score, cost or weight is out of range")


def _check(cell: Cell, found: Predictions) -> None:
    ids, labels, predictions = found
    if not len(ids) == len(labels) == len(predictions) == cell.rows:
        raise UserError(f"{PREDICTIONS} has {len(predictions)} rows for '{cell.name}', {RESULTS} says {cell.rows}")
    accuracy = float(np.mean(labels == predictions)) if cell.rows else float("nan")
    if not abs(accuracy - cell.accuracy) < 1e-9:
        raise UserError(
            f"the predictions of '{cell.name}' have an accuracy of {accuracy:.4f}, {RESULTS} says {cell.accuracy:.4f}"
        )


def _failure(folder: Path) -> Failure:
    record = read_json_object(folder / ERROR, max_bytes=MAX_RECORD)
    error, cell, traceback = record.get("error"), record.get("cell", {}), record.get("traceback", "")
    if not isinstance(error, str) or not isinstance(cell, dict) or not isinstance(traceback, str):
        raise UserError(f"{ERROR} does not say what failed")
    return Failure(folder, error, cell, traceback)
