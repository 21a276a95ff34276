"""The N-by-N matrix, as it is read back."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results.cells import write_cell
from mu_lightning.results.identity import Identity
from mu_lightning.results.matrix import read_nxn
from mu_lightning.results.results import Result
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError

SOURCES, LOCALES = ("de-DE", "nl-NL"), ("af-ZA", "de-DE", "nl-NL")
RIGHT = {("de-DE", "af-ZA"): 3, ("de-DE", "de-DE"): 9, ("de-DE", "nl-NL"): 4, ("nl-NL", "af-ZA"): 6}


def row(source: str, identity: Callable[..., Identity]) -> list[Result]:
    labels, ids = np.zeros(10, dtype=np.int64), np.array([f"id/{number}" for number in range(10)])
    found = []
    for locale in LOCALES:
        predictions = (np.arange(10) >= RIGHT.get((source, locale), 5)).astype(np.int64)
        found.append(
            Result(identity("single", locale, [source], source=source), score(locale, ids, labels, predictions))
        )
    return found


@pytest.fixture
def folder(tmp_path: Path, identity: Callable[..., Identity]) -> Path:
    manifest = {"sources": SOURCES, "locales": LOCALES, "corpus": "cldr", "split": "test"}
    (tmp_path / "nxn.json").write_text(json.dumps(manifest))
    for source in SOURCES:
        write_cell(tmp_path / "rows" / source, row(source, identity))
    return tmp_path


def test_its_rows_are_sources_and_its_columns_locales(folder: Path) -> None:
    nxn = read_nxn(folder)
    assert (nxn.sources, nxn.locales, nxn.corpus, nxn.split) == (SOURCES, LOCALES, "cldr", "test")
    assert nxn.accuracy.tolist() == [[0.3, 0.9, 0.4], [0.6, 0.5, 0.5]]
    assert nxn.column("af-ZA") == {"de-DE": 0.3, "nl-NL": 0.6}
    assert nxn.zero_shot("nl-NL") == {"de-DE": 0.4}
    assert (nxn.predictions("nl-NL", "af-ZA").predictions == 0).sum() == 6


def test_a_target_that_it_lacks_is_an_error(folder: Path) -> None:
    with pytest.raises(UserError, match="no column for sw-KE: it has af-ZA, de-DE, nl-NL"):
        read_nxn(folder).column("sw-KE")
    with pytest.raises(UserError, match="did you mean nl-NL"):
        read_nxn(folder).predictions("nl-NN", "af-ZA")


def test_missing_and_damaged_rows_are_named_and_have_no_numbers(folder: Path) -> None:
    path = folder / "rows" / "de-DE" / "predictions.npz"
    path.write_bytes(path.read_bytes()[:50])
    (folder / "rows" / "nl-NL" / "results.json").unlink()
    nxn = read_nxn(folder)
    assert nxn.missing == ("nl-NL",)
    assert "predictions.npz cannot be read" in nxn.damaged["de-DE"]
    assert np.isnan(nxn.accuracy).all()
    with pytest.raises(UserError, match="holds no predictions of nl-NL"):
        nxn.predictions("nl-NL", "af-ZA")


def test_a_results_folder_names_the_matrices_in_it_and_takes_their_rows_for_no_cells(folder: Path) -> None:
    folder.rename(folder.parent / "results-nxn")
    (folder / "inside").mkdir(parents=True)
    folder = (folder.parent / "results-nxn").rename(folder / "inside" / "nxn")
    store = read_store(folder.parent)
    assert store.matrices == (folder,)
    assert store.cells == ()


def test_a_matrix_of_the_old_scripts_is_read_without_predictions(tmp_path: Path) -> None:
    (tmp_path / "evaluation_matrix.csv").write_text(",af-ZA,de-DE\nde-DE,0.5,0.9\nnl-NL,0.7,\n")
    nxn = read_nxn(tmp_path)
    assert nxn.column("af-ZA") == {"de-DE": 0.5, "nl-NL": 0.7}
    assert nxn.column("de-DE") == {"de-DE": 0.9}
    assert read_nxn(tmp_path / "evaluation_matrix.csv").sources == nxn.sources
    with pytest.raises(UserError, match="holds no predictions"):
        nxn.predictions("de-DE", "af-ZA")


@pytest.mark.parametrize("text", ["", ",af-ZA\nde-DE,high\n", ",af-ZA\nde-DE,0.5,0.6\n", ",af-ZA\nde-DE,55.0\n"])
def test_what_is_no_matrix_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation_matrix.csv").write_text(text)
    with pytest.raises(UserError, match=r"evaluation_matrix\.csv"):
        read_nxn(tmp_path)


def test_no_matrix_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no N-by-N matrix"):
        read_nxn(tmp_path)
