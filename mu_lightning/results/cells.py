"""Writes the cells of a results folder: what was scored and what failed. `store` reads them back."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mu_lightning.results.results import Result, write_results
from mu_lightning.results.store import ERROR, MERGE_DETAILS, RESULTS
from mu_lightning.utilities.files import atomic_folder, write_json, write_text


def is_done(folder: Path) -> bool:
    """Whether a cell's result is there: a cell's folder has its name only once it is whole."""
    return (folder / RESULTS).is_file()


def write_cell(
    folder: Path,
    results: Sequence[Result],
    cell: Mapping[str, Any],
    *,
    cost: Mapping[str, float | None] | None = None,
    recipe: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, Any] | None = None,
    merge_details: str | None = None,
) -> None:
    """Writes a cell's folder atomically, in the place of an earlier failure.

    Args:
        folder: the cell's folder.
        results: its scores; a result's details may have a key ``cell`` with what differs from the others' cell.
        cell: what was scored: the fields of `mu_lightning.results.store.Cell`.
        cost: ``seconds``, ``peak_bytes`` and ``model_bytes``.
        recipe: what recomputes it: ``verb`` and ``arguments``.
        fingerprints: of data and models.
        merge_details: the text of ``merge_details.txt``.

    Raises:
        UserError: `folder` already holds a result.
    """
    clear_failure(folder)
    with atomic_folder(folder) as temporary:
        if merge_details is not None:
            write_text(temporary / MERGE_DETAILS, merge_details)
        provenance = {
            "cell": dict(cell),
            "cost": dict(cost or {}),
            "recipe": dict(recipe or {}),
            "fingerprints": dict(fingerprints or {}),
        }
        write_results(temporary, results, provenance)


def write_failure(folder: Path, error: str, traceback: str, cell: Mapping[str, Any]) -> None:
    """Records in a cell's folder that it failed: the error in a line, where it happened, and what the cell was."""
    clear_failure(folder)
    with atomic_folder(folder) as temporary:
        write_json(temporary / ERROR, {"error": error, "cell": dict(cell), "traceback": traceback})


def clear_failure(folder: Path) -> None:
    """Removes what an earlier attempt at a cell left: a record of its failure, which is no result."""
    if (folder / ERROR).is_file() and not (folder / RESULTS).exists():
        shutil.rmtree(folder)
