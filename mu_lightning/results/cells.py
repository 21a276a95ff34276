"""Writes the cells of a results folder: what was scored and what failed. `store` reads them back."""

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mu_lightning.results.results import PREDICTIONS, TABLE, Result, write_results
from mu_lightning.results.store import ERROR, MERGE_DETAILS, RESULTS, read_cells
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_folder, set_aside, write_json, write_text

# What a run leaves that its cell keeps: what each merge changed, as tables, a page and pictures.
KEPT_FILES = ("history.json", "merges.csv", "merges.html", "merges.png", "merges.svg")
FILES = (RESULTS, PREDICTIONS, TABLE, MERGE_DETAILS, ERROR, *KEPT_FILES)  # all that a cell's folder may hold


def is_done(folder: Path) -> bool:
    """Whether a cell's result is there: a cell's folder has its name only once it is whole."""
    return (folder / RESULTS).is_file()


def is_whole(folder: Path) -> bool:
    """Whether a cell's result is there and can be read; where it cannot, it is said why."""
    problem = _problem(folder)
    if problem:
        print(f"{folder} is corrupt; recomputing: {problem}", flush=True)
    return problem is None


def _problem(folder: Path) -> str | None:
    """Why a cell's result cannot be read, empty where there is none; None where it can."""
    if not is_done(folder):
        return ""
    try:
        read_cells(folder)
    except UserError as error:
        return str(error)
    return None


def write_cell(
    folder: Path,
    results: Sequence[Result],
    *,
    cost: Mapping[str, float | None] | None = None,
    recipe: Mapping[str, Any] | None = None,
    fingerprints: Mapping[str, Any] | None = None,
    merge_details: str | None = None,
    files: Sequence[Path] = (),
) -> None:
    """Writes a cell's folder atomically, in the place of an earlier attempt.

    Args:
        folder: the cell's folder.
        results: its scores, each with what it is of.
        cost: ``seconds``, ``peak_bytes`` and ``model_bytes``.
        recipe: where the data, base and models lay that it was made from.
        fingerprints: of data and models.
        merge_details: the text of ``merge_details.txt``.
        files: copied beside it, such as the history of a run's merges.

    Raises:
        UserError: `folder` already holds a result.
    """
    make_room(folder)
    with atomic_folder(folder) as temporary:
        if merge_details is not None:
            write_text(temporary / MERGE_DETAILS, merge_details)
        for path in files:
            shutil.copyfile(path, temporary / path.name)
        provenance = {
            "cost": dict(cost or {}),
            "recipe": dict(recipe or {}),
            "fingerprints": dict(fingerprints or {}),
        }
        write_results(temporary, results, provenance)


def write_failure(folder: Path, error: str, traceback: str, cell: Mapping[str, Any]) -> None:
    """Records in a cell's folder that it failed: the error in a line, where it happened, and what the cell was."""
    make_room(folder)
    with atomic_folder(folder) as temporary:
        write_json(temporary / ERROR, {"error": error, "cell": dict(cell), "traceback": traceback})


def make_room(folder: Path) -> None:
    """Removes a cell's own files where they are no whole result; what else is in its place gets another name."""
    if _problem(folder) is None:
        return
    if os.path.lexists(folder.parent) and not folder.parent.is_dir():
        _set_aside(folder.parent)
    if folder.is_symlink() or folder.is_file():
        _set_aside(folder)
    for name in FILES:
        path = folder / name
        if path.is_file() or path.is_symlink():
            path.unlink()
    with suppress(FileNotFoundError):
        try:
            folder.rmdir()
        except OSError:  # not empty
            _set_aside(folder)


def _set_aside(path: Path) -> None:
    print(f"{path} is in the place of a result: it now is {set_aside(path)}", flush=True)
