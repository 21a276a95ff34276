"""Small results folders and an N-by-N matrix with chosen right and wrong answers."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import Scores, score
from mu_lightning.results.cells import write_cell, write_failure
from mu_lightning.results.identity import Identity
from mu_lightning.results.results import Result, write_results
from mu_lightning.utilities.files import write_json

ROWS = 60
SOURCES = ("de-DE", "en-US", "it-IT", "nl-NL", "ro-RO")
TARGETS = ("af-ZA", "es-ES", "sq-AL")


def scores(target: str, right: np.ndarray, prefix: str = "", labels: int = 3) -> Scores:
    """Scores of answers of which `right` are right."""
    gold = np.arange(len(right)) % labels
    ids = np.array([f"{prefix}{row}" for row in range(len(right))])
    return score(target, ids, gold, np.where(right, gold, labels))


def first(count: int, rows: int = ROWS) -> np.ndarray:
    """The first `count` rows right."""
    return np.arange(rows) < count


@pytest.fixture(scope="session")
def add_cell(identity: Callable[..., Identity]) -> Callable[..., Path]:
    """Writes a cell: ``add_cell(folder, target, right, "ties", preweight="uriel", ...)``, see `identity`."""

    def add(
        folder: Path, target: str, right: np.ndarray, what: str = "linear", *, prefix: str = "",
        supervision: Any = "none", fingerprints: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None, **of: Any,
    ) -> Path:  # fmt: skip
        found = identity(what, target, **of)
        place = folder / target / f"{what}-{found.digest[:8]}{prefix}"
        result = Result(found, scores(target, right, prefix), supervision, details or {})
        cost = {"seconds": 1.5, "peak_bytes": 2**30, "model_bytes": 2**20}
        recipe = {"command": "sweep", "problem": {}, "models": {}}
        write_cell(place, [result], cost=cost, recipe=recipe, fingerprints=fingerprints)
        return place

    return add


@pytest.fixture(scope="session")
def add_matrix(identity: Callable[..., Identity]) -> Callable[..., Path]:
    """Writes an N-by-N folder: ``add_matrix(folder, {source: {locale: right}})``."""

    def add(folder: Path, right: Mapping[str, Mapping[str, np.ndarray]], split: str = "test", labels: int = 3) -> Path:
        locales = list(next(iter(right.values())))
        write_json(folder / "nxn.json", {"sources": [*right], "locales": locales, "corpus": "cldr", "split": split})
        table: list[Sequence[Any]] = [["source", *locales]]
        for source, columns in right.items():
            results = [
                Result(
                    identity("single", locale, [source], split=split, source="target" if source == locale else source),
                    scores(locale, columns[locale], labels=labels),
                )
                for locale in locales
            ]
            write_results(folder / "rows" / source, results, {})
            table.append([source, *(result.scores.accuracy for result in results)])
        with (folder / "evaluation_matrix.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(table)
        return folder

    return add


@pytest.fixture(scope="session")
def make_matrix(add_matrix: Callable[..., Path]) -> Callable[[Path], Path]:
    """Writes an N-by-N folder: source i has 20 + i right on every target, its own language 50."""
    locales = (*TARGETS, *SOURCES)
    right = {
        source: {locale: first(50 if source == locale else 20 + place) for locale in locales}
        for place, source in enumerate((*SOURCES, "af-ZA"))
    }
    return lambda folder: add_matrix(folder, right)


@pytest.fixture(scope="session")
def make_results(add_cell: Callable[..., Path], identity: Callable[..., Identity]) -> Callable[[Path], Path]:
    """Writes a results folder, for each of three targets linear merges and a vote, and a failure.

    Right are 30 rows with URIEL weights, 20 with equal ones, 25 and 27 with shuffled ones, and 32 for the vote.
    """
    weights = {"de-DE": 0.5, "en-US": 0.3, "it-IT": 0.2}
    equal = dict.fromkeys(weights, 1 / 3)

    def make(folder: Path) -> Path:
        for target in TARGETS:
            add_cell(folder, target, first(30), preweight="uriel", details={"weights": weights})
            add_cell(folder, target, first(20), preweight="equal", details={"weights": equal})
            for seed, count in ((0, 25), (1, 27)):
                add_cell(folder, target, first(count), preweight="shuffled", seed=seed)
            add_cell(folder, target, first(32), "ensemble", vote_method="soft", preweight="uriel")
        write_failure(folder / "af-ZA" / "slerp", "slerp merges two", "", identity("slerp").plain())
        return folder

    return make


@pytest.fixture
def matrix(tmp_path: Path, make_matrix: Callable[[Path], Path]) -> Path:
    """That of `make_matrix`."""
    return make_matrix(tmp_path / "nxn")


@pytest.fixture
def results(tmp_path: Path, make_results: Callable[[Path], Path]) -> Path:
    """Those of `make_results`."""
    return make_results(tmp_path / "results")
