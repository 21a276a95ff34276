"""The results store: what is written is read back, and what is not whole is told apart from what is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results.cells import is_done, write_cell, write_failure
from mu_lightning.results.results import Result, write_results
from mu_lightning.results.store import Cost, read_store
from mu_lightning.utilities.errors import UserError

WEIGHTS = {"nl-NL": 0.75, "de-DE": 0.25}
CELL = {
    "target": "af-ZA",
    "experiment_type": "merge",
    "method": "ties",
    "preweight": "uriel",
    "num_languages": 2,
    "seed": 3,
    "sources": list(WEIGHTS),
    "weights": WEIGHTS,
    "corpus": "cldr",
    "split": "test",
    "base": "xlm-r-cldr",
}


def result(name: str = "ties, uriel weights", right: int = 30, locale: str = "af-ZA", **details: Any) -> Result:
    labels = np.arange(40) % 5
    predictions = np.where(np.arange(40) < right, labels, 5)
    return Result(
        name, score(locale, np.array([f"id/{row}" for row in range(40)]), labels, predictions), "none", details
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A results folder with one cell that is whole."""
    write_cell(
        tmp_path / "af-ZA" / "ties",
        [result(scale=2)],
        CELL,
        cost={"seconds": 1.5, "peak_bytes": 10, "model_bytes": 5},
        recipe={"verb": "sweep", "arguments": {"seed": 3}},
        fingerprints={"af-ZA": {"test": "abc"}},
        merge_details="how it was merged",
    )
    return tmp_path


def test_a_cell_is_read_back_as_it_was_written(folder: Path) -> None:
    store = read_store(folder)
    assert (store.failed, store.damaged, store.matrices) == ((), (), ())
    (cell,) = store.cells
    assert {name: getattr(cell, name) for name in CELL} == CELL | {"sources": tuple(WEIGHTS)}
    assert (cell.name, cell.accuracy, cell.rows, cell.supervision) == ("ties, uriel weights", 0.75, 40, "none")
    assert cell.interval[0] < 0.75 < cell.interval[1]
    assert cell.cost == Cost(1.5, 10, 5)
    assert cell.recipe == {"verb": "sweep", "arguments": {"seed": 3}}
    assert cell.fingerprints == {"af-ZA": {"test": "abc"}}
    assert cell.merge_details == "how it was merged"
    assert cell.details == {"scale": 2}
    assert "torch" in cell.versions
    found, expected = cell.predictions(), result().scores
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.predictions.tolist() == expected.predictions.tolist()


def test_several_results_of_a_folder_are_cells_of_their_own(tmp_path: Path) -> None:
    votes = [
        result(f"ensemble, {vote}", right, cell={"vote": vote}) for vote, right in (("soft", 20), ("majority", 10))
    ]
    write_cell(tmp_path / "votes", votes, CELL | {"experiment_type": "ensemble"})
    cells = read_store(tmp_path).cells
    assert [(cell.vote, cell.accuracy, cell.place) for cell in cells] == [("soft", 0.5, 0), ("majority", 0.25, 1)]
    assert [int(np.sum(cell.predictions().predictions != 5)) for cell in cells] == [20, 10]


def test_the_table_has_a_row_a_cell(folder: Path) -> None:
    (row,) = read_store(folder).table().to_dict("records")
    assert (row["target"], row["method"], row["accuracy"], row["folder"]) == ("af-ZA", "ties", 0.75, "af-ZA/ties")
    assert json.loads(row["weights"]) == WEIGHTS


def test_a_failure_is_recorded_and_gives_way_to_a_result(tmp_path: Path) -> None:
    place = tmp_path / "cell"
    write_failure(place, "no base", "Traceback ...", CELL)
    (failure,) = read_store(tmp_path).failed
    assert (failure.error, failure.cell["method"]) == ("no base", "ties")
    assert failure.traceback == "Traceback ..."
    assert not is_done(place)
    write_cell(place, [result()], CELL)
    assert is_done(place)
    store = read_store(tmp_path)
    assert (len(store.cells), store.failed) == (1, ())


def test_a_result_is_never_written_over(folder: Path) -> None:
    with pytest.raises(UserError, match="already holds a result"):
        write_cell(folder / "af-ZA" / "ties", [result(right=1)], CELL)
    assert read_store(folder).cells[0].accuracy == 0.75


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)


def other_scores(path: Path) -> None:
    path.write_text(path.read_text().replace('"accuracy": 0.75', '"accuracy": 0.8'))


@pytest.mark.parametrize(
    ("file", "harm", "reason"),
    [
        ("results.json", truncate, "results.json cannot be read"),
        ("results.json", Path.unlink, "half-written"),
        ("results.json", other_scores, "have an accuracy of 0.7500, results.json says 0.8000"),
        ("results.json", lambda path: path.write_text("[]"), "results.json cannot be read"),
        ("predictions.npz", truncate, "predictions.npz cannot be read"),
        ("predictions.npz", flip, "predictions.npz cannot be read"),
        ("predictions.npz", Path.unlink, "predictions.npz cannot be read"),
    ],
)
def test_a_damaged_cell_is_reported_and_has_no_part_in_the_results(
    folder: Path, file: str, harm: Any, reason: str
) -> None:
    shutil.copytree(folder / "af-ZA", folder / "sq-AL")
    harm(folder / "sq-AL" / "ties" / file)
    store = read_store(folder)
    assert [cell.folder for cell in store.cells] == [folder / "af-ZA" / "ties"]
    (damage,) = store.damaged
    assert damage.folder == folder / "sq-AL" / "ties"
    assert reason in damage.reason


def test_what_a_killed_write_left_is_passed_over(folder: Path) -> None:
    shutil.copytree(folder / "af-ZA" / "ties", folder / "af-ZA" / ".ties.1234.tmp")
    assert len(read_store(folder).cells) == 1


def test_a_training_run_is_read_as_its_iterative_result_and_baselines(tmp_path: Path) -> None:
    names = [
        "native",
        "best source (nl-NL)",
        "merged once, shuffled URIEL weights",
        "ensemble, soft",
        "iterative merging",
    ]
    found = [result(name, weights=WEIGHTS) if "," in name or "it" in name else result(name) for name in names]
    config = {
        "target_lang": "af-ZA",
        "preweight": "uriel",
        "merge": {"method": "ties"},
        "data": {"corpus": "cldr"},
        "model": {"base": "checkpoints/xlm-r-cldr"},
    }
    write_results(tmp_path / "run", found, {"verb": "fit", "seed": 5, "config": config})
    (tmp_path / "run" / "merged").mkdir()
    for file in ("config.json", "merge_details.txt"):
        (tmp_path / "run" / "merged" / file).write_text("{}")
    store = read_store(tmp_path)
    assert store.damaged == ()
    fields = [(cell.experiment_type, cell.method, cell.preweight, cell.vote) for cell in store.cells]
    assert fields == [
        ("baseline", "native", None, None),
        ("baseline", "best_source", None, None),
        ("merge", "ties", "shuffled", None),
        ("ensemble", None, "uriel", "soft"),
        ("iterative", "ties", "uriel", None),
    ]
    assert store.cells[1].sources == ("nl-NL",)
    assert store.cells[4].weights == WEIGHTS
    assert {(cell.corpus, cell.split, cell.base, cell.seed) for cell in store.cells} == {
        ("cldr", "test", "xlm-r-cldr", 5)
    }


def test_an_unfinished_run_is_reported(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    assert "unfinished" in read_store(tmp_path).damaged[0].reason


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_nothing_to_read_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no results"):
        read_store(tmp_path / name)
