"""Every source model on every locale's split: the N-by-N matrix, a row at a time, resumed where it stopped."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext, Scoring, prepare
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.single import TARGET, Single
from mu_lightning.approaches.tasks import RowTask, Scored
from mu_lightning.experiments.workers import Workers
from mu_lightning.results.cells import is_done, is_whole, write_cell
from mu_lightning.results.identity import Identity, plain
from mu_lightning.results.matrix import LONG, ROWS, NByN, read_nxn
from mu_lightning.results.provenance import read_manifest, versions
from mu_lightning.results.results import Result
from mu_lightning.results.store import MATRIX, NXN, RESULTS
from mu_lightning.settings import DataSettings
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, clear_temporaries, write_json
from mu_lightning.utilities.progress import progress
from mu_lightning.utilities.reading import read_json_object
from mu_lightning.utilities.table_cells import safe

# What must be the same for rows to stand in one matrix.
_FIXED = ("corpus", "split", "max_length", "locales", "rows")
_FIELDS = {"corpus": str, "split": str, "max_length": int, "locales": list, "sources": list, "models": dict}


@dataclass(frozen=True)
class NByNRun:
    """A checked run.

    Attributes:
        scoring: what is scored.
        models: source -> model folder or hub id.
        locales: the columns.
        folder: where the matrix goes.
        context: models and tokenized splits.
    """

    scoring: Scoring
    models: Mapping[str, Path | str]
    locales: tuple[str, ...]
    folder: Path
    context: EvaluationContext

    def manifest(self) -> dict[str, Any]:
        """What ``nxn.json`` says."""
        return {
            **self.scoring.plain(),
            "sources": list(self.models),
            "locales": list(self.locales),
            "models": {name: str(path) for name, path in self.models.items()},
            "fingerprints": self.context.fingerprints,
            "versions": versions(),
        }


def plan_nxn(
    scoring: Scoring, models: Mapping[str, Path | str], locales: tuple[str, ...] | None, folder: Path
) -> NByNRun:
    """Checks models, split and locales, and what `folder` holds of an earlier run; tokenizes.

    Args:
        scoring: what is scored.
        models: source -> model folder or hub id.
        locales: the columns; None for every locale of the corpus that has labels in the split.
        folder: where the matrix goes, or an unfinished one lies.

    Raises:
        UserError: as of `prepare`; or `folder` holds a matrix of other rows, columns or models.
    """
    corpus = scoring.open()
    columns = locales or tuple(tag for tag in corpus.locales if corpus.rows(tag, scoring.split).labeled)
    if not columns:
        raise UserError("no locales to score on: name --locales")
    run = NByNRun(scoring, models, columns, folder, prepare(scoring, models, columns))
    _check_earlier(run)
    return run


def run_nxn(run: NByNRun, workers: Workers) -> NByN:
    """Scores the rows that are missing, and writes the matrix.

    Raises:
        UserError: a row failed; the others are kept.
    """
    clear_temporaries(run.folder / ROWS)
    _write_manifest(run)
    tasks = [RowTask(source, run.locales) for source in run.models if not is_whole(run.folder / ROWS / source)]
    done = len(run.models) - len(tasks)
    if done:
        print(f"{done} of {len(run.models)} rows are there already")
    failed = []
    for task, outcome in progress(workers.outcomes(run.context, tasks), len(tasks), "rows of the matrix"):
        assert isinstance(task, RowTask)
        if outcome.error:
            failed.append(f"{task.source}: {outcome.error}")
            continue
        try:
            _write_row(run, task.source, outcome.value)
        except UserError as error:
            failed.append(f"{task.source}: {error}")
    matrix = read_nxn(run.folder)
    if failed:
        raise UserError(f"{len(failed)} of {len(run.models)} rows failed, the others are kept: {'; '.join(failed)}")
    write_matrix(matrix)
    return matrix


def write_matrix(matrix: NByN) -> None:
    """Writes ``evaluation_matrix.csv`` and the long ``evaluation_matrix.parquet`` of a whole matrix."""
    import pandas

    with (
        atomic_file(matrix.folder / MATRIX) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["source", *map(safe, matrix.locales)])
        for source, row in zip(matrix.sources, matrix.accuracy.tolist(), strict=True):
            writer.writerow([safe(source), *map(repr, row)])
    rows = [
        {
            "source": source,
            "locale": result["locale"],
            "accuracy": result["accuracy"],
            "macro_f1": result["macro_f1"],
            "rows": result["rows"],
            "low": result["interval"][0],
            "high": result["interval"][1],
            "calibration_error": result.get("calibration_error"),
        }
        for source in matrix.sources
        for result in read_json_object(matrix.folder / ROWS / source / RESULTS)["results"]
    ]
    with atomic_file(matrix.folder / LONG) as temporary:
        pandas.DataFrame(rows).to_parquet(temporary, index=False)


def _write_row(run: NByNRun, source: str, found: Scored) -> None:
    results = [
        Result(
            single_identity(run.scoring, tag, source), found.scores[tag], "target-labels" if tag == source else "none"
        )
        for tag in run.locales
    ]
    write_cell(
        run.folder / ROWS / source,
        results,
        cost={
            "seconds": round(sum(found.seconds.values()), 4),
            "peak_bytes": found.peak_bytes,
            "model_bytes": max(found.model_bytes.values()),
        },
        recipe={
            "command": "nxn",
            "problem": plain(problem_of(run.scoring, source)),
            "models": {source: str(run.models[source])},
        },
        fingerprints={
            "rows": run.context.fingerprints["rows"],
            "models": {source: run.context.fingerprints["models"][source]},
        },
    )


def problem_of(scoring: Scoring, target: str) -> Problem:
    """A target of what is scored; nothing is said of the base of its models."""
    data = DataSettings(**scoring.corpus_values(), eval_batch_size=scoring.batch_size, max_length=scoring.max_length)
    return Problem(target, data, base="", split=scoring.split)


def single_identity(scoring: Scoring, target: str, source: str) -> Identity:
    """What the score of a given source model on a target is of."""
    return Cell(problem_of(scoring, target), Single(TARGET if source == target else source)).identity


def _check_earlier(run: NByNRun) -> None:
    path = run.folder / NXN
    if not path.is_file():
        if (run.folder / MATRIX).exists() or (run.folder.is_dir() and any(run.folder.glob("*/results.json"))):
            raise UserError(f"{run.folder} already holds other results: name another --output-dir")
        return
    earlier = read_manifest(path, _FIELDS)
    here = run.manifest()
    for name, before, now in (
        *((key, earlier.get(key), here[key]) for key in _FIXED[:4]),
        ("rows", earlier["fingerprints"]["rows"], here["fingerprints"]["rows"]),
    ):
        if before != now:
            raise UserError(
                f"{run.folder} holds a matrix of other {name}: {_short(before, now)}; name another --output-dir"
            )
    for source, before in earlier["fingerprints"]["models"].items():
        now = run.context.fingerprints["models"].get(source, before)
        if before != now and is_done(run.folder / ROWS / source):
            raise UserError(
                f"the model of {source} has changed since its row in {run.folder} was made: remove "
                f"{run.folder / ROWS / source} to have it made anew, or name another --output-dir"
            )


def _short(before: Any, now: Any) -> str:
    if isinstance(before, list) and isinstance(now, list):
        lost, new = [tag for tag in before if tag not in now], [tag for tag in now if tag not in before]
        return (
            "; ".join([f"{', '.join(lost)} only there"] * bool(lost) + [f"{', '.join(new)} only asked for"] * bool(new))
            or "in another order"
        )
    if isinstance(before, dict) and isinstance(now, dict):
        return f"those of {', '.join(tag for tag in before if before[tag] != now.get(tag))} have changed"
    return f"{before} there, {now} asked for"


def _write_manifest(run: NByNRun) -> None:
    """Writes ``nxn.json``; rows of models that are not asked for this time stay part of the matrix."""
    here, path = run.manifest(), run.folder / NXN
    if path.is_file():
        earlier = read_manifest(path, _FIELDS)
        for source in earlier["sources"]:
            if source not in run.models and is_done(run.folder / ROWS / source):
                here["sources"].append(source)
                here["models"][source] = earlier["models"][source]
                here["fingerprints"]["models"][source] = earlier["fingerprints"]["models"][source]
        here["sources"].sort()
    write_json(path, here)
