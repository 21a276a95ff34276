"""The results store: what is written is read back, and what is not whole is told apart from what is."""

import json
import os
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results import store as results_store
from mu_lightning.results.cells import is_done, write_cell, write_failure
from mu_lightning.results.identity import Identity
from mu_lightning.results.results import Result
from mu_lightning.results.store import Cost, read_store
from mu_lightning.utilities.errors import UserError

WEIGHTS = {"nl-NL": 0.75, "de-DE": 0.25}
HEADER = {"descr": "|u1", "fortran_order": False}
Make = Callable[..., Result]


@pytest.fixture
def result(identity: Callable[..., Identity]) -> Make:
    """A result of which `right` of 40 rows are right."""

    def make(what: str = "ties", right: int = 30, locale: str = "af-ZA", details: Any = None, **of: Any) -> Result:
        labels = np.arange(40) % 5
        predictions = np.where(np.arange(40) < right, labels, 5)
        scores = score(locale, np.array([f"id/{row}" for row in range(40)]), labels, predictions)
        return Result(identity(what, locale, list(WEIGHTS), seed=3, **of), scores, "none", details or {})

    return make


@pytest.fixture
def folder(tmp_path: Path, result: Make) -> Path:
    """A results folder with one cell that is whole."""
    write_cell(
        tmp_path / "af-ZA" / "ties",
        [result(details={"scale": 2, "weights": WEIGHTS})],
        cost={"seconds": 1.5, "peak_bytes": 10, "model_bytes": 5},
        recipe={"command": "sweep", "models": {}},
        fingerprints={"af-ZA": {"test": "abc"}},
        merge_details="how it was merged",
    )
    return tmp_path


def test_a_cell_is_read_back_as_it_was_written(folder: Path, result: Make) -> None:
    store = read_store(folder)
    assert (store.failed, store.damaged, store.matrices) == ((), (), ())
    (cell,) = store.cells
    assert cell.identity == result().identity
    assert (cell.target, cell.kind, cell.method, cell.preweight) == ("af-ZA", "one_shot", "ties", "uriel")
    assert (cell.seed, cell.sources, cell.weights) == (3, tuple(WEIGHTS), WEIGHTS)
    assert (cell.corpus, cell.split) == ("cldr", "test")
    assert (cell.accuracy, cell.rows, cell.supervision) == (0.75, 40, "none")
    assert cell.interval[0] < 0.75 < cell.interval[1]
    assert cell.cost == Cost(1.5, 10, 5)
    assert cell.recipe == {"command": "sweep", "models": {}}
    assert cell.fingerprints == {"af-ZA": {"test": "abc"}}
    assert cell.merge_details == "how it was merged"
    assert cell.details == {"scale": 2}
    assert "torch" in cell.versions
    found, expected = cell.predictions(), result().scores
    assert found.ids.tolist() == expected.ids.tolist()
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.predictions.tolist() == expected.predictions.tolist()


def test_several_results_of_a_folder_are_cells_of_their_own(tmp_path: Path, result: Make) -> None:
    votes = [result("ensemble", right, vote_method=vote) for vote, right in (("soft", 20), ("majority", 10))]
    write_cell(tmp_path / "votes", votes)
    cells = read_store(tmp_path).cells
    found = [(cell.identity.get("vote_method"), cell.accuracy, cell.place) for cell in cells]
    assert found == [("soft", 0.5, 0), ("majority", 0.25, 1)]
    assert [int(np.sum(cell.predictions().predictions != 5)) for cell in cells] == [20, 10]


def test_a_stored_result_is_the_result(folder: Path, result: Make) -> None:
    found, expected = read_store(folder).cells[0].result("a note"), result()
    assert (found.identity, found.note) == (expected.identity, "a note")
    assert found.scores.summary() == expected.scores.summary()


def test_the_table_has_a_row_a_cell(folder: Path) -> None:
    (row,) = read_store(folder).table().to_dict("records")
    assert (row["target"], row["method"], row["accuracy"], row["folder"]) == ("af-ZA", "ties", 0.75, "af-ZA/ties")
    assert json.loads(row["weights"]) == WEIGHTS


def test_a_failure_is_recorded_and_gives_way_to_a_result(tmp_path: Path, result: Make) -> None:
    place = tmp_path / "cell"
    write_failure(place, "no base", "Traceback ...", result().identity.plain())
    (failure,) = read_store(tmp_path).failed
    assert (failure.error, failure.cell["approach"]["method"]) == ("no base", "ties")
    assert failure.traceback == "Traceback ..."
    assert not is_done(place)
    write_cell(place, [result()])
    assert is_done(place)
    store = read_store(tmp_path)
    assert (len(store.cells), store.failed) == (1, ())


def test_a_result_is_never_written_over(folder: Path, result: Make) -> None:
    with pytest.raises(UserError, match="already holds a result"):
        write_cell(folder / "af-ZA" / "ties", [result(right=1)])
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
        ("results.json", truncate, "results.json is not valid JSON"),
        ("results.json", Path.unlink, "half-written"),
        ("results.json", other_scores, "have an accuracy of 0.7500, results.json says 0.8000"),
        ("results.json", lambda path: path.write_text("[]"), "results.json does not hold a JSON object"),
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


def test_a_result_of_an_earlier_version_is_refused_with_what_to_do(folder: Path) -> None:
    path = folder / "af-ZA" / "ties" / "results.json"
    record = json.loads(path.read_text())
    del record["results"][0]["identity"]
    path.write_text(json.dumps(record))
    (damage,) = read_store(folder).damaged
    assert "written by an earlier version" in damage.reason
    assert "run the command again in another --output-dir" in damage.reason


def test_a_changed_identity_is_noticed(folder: Path) -> None:
    path = folder / "af-ZA" / "ties" / "results.json"
    path.write_text(path.read_text().replace('"method": "ties"', '"method": "linear"'))
    (damage,) = read_store(folder).damaged
    assert "identity was changed" in damage.reason


def test_an_unfinished_run_is_reported(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    assert "unfinished" in read_store(tmp_path).damaged[0].reason


@pytest.mark.parametrize("name", ["", "nowhere"])
def test_nothing_to_read_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="no results"):
        read_store(tmp_path / name)


def edited(**fields: Any) -> Any:
    """What puts other fields into a cell's only result."""

    def edit(path: Path) -> None:
        record = json.loads(path.read_text())
        record["results"][0] |= fields
        path.write_text(json.dumps(record))

    return edit


def bomb(path: Path) -> None:
    """Half a megabyte that unpacks to 540 MB."""
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        for column in ("ids", "labels", "predictions"):
            with archive.open(f"{column}_0.npy", "w") as stream:
                np.lib.format.write_array_header_1_0(stream, HEADER | {"shape": (180 << 20,)})
                for _ in range(180):
                    stream.write(bytes(1 << 20))


def promises_more_than_it_holds(path: Path) -> None:
    with ZipFile(path, "w") as archive:
        for column in ("ids", "labels", "predictions"):
            with archive.open(f"{column}_0.npy", "w") as stream:
                np.lib.format.write_array_header_1_0(stream, HEADER | {"shape": (1 << 50,)})


@pytest.mark.parametrize(
    ("file", "harm", "reason"),
    [
        ("results.json", lambda path: path.write_text("[" * 10**5), "nested too deeply"),
        ("results.json", lambda path: path.write_text('{"results": ' + "9" * 10**5 + "}"), "not valid JSON"),
        ("results.json", lambda path: os.truncate(path, 0), "not valid JSON"),
        ("results.json", lambda path: os.truncate(path, 10**12), "at most 16,777,216 are read"),
        ("results.json", edited(rows=10**400), "predictions.npz has 40 rows"),
        ("results.json", edited(rows="40"), "40 is there in place of a int"),
        ("results.json", edited(accuracy=10**400), "OverflowError"),
        ("results.json", edited(interval=[0.1, float("nan")]), "out of range"),
        ("results.json", edited(supervision=["a"]), "in place of a str"),
        ("results.json", edited(weights={"nl-NL": float("inf")}), "out of range"),
        ("results.json", edited(rows=True), "True is there in place of a"),
        ("results.json", edited(identity={"problem": []}), "does not say what it is of"),
        ("predictions.npz", bomb, "unpacks to"),
        ("predictions.npz", promises_more_than_it_holds, "ids_0.npy holds no column"),
    ],
)
def test_a_file_of_absurd_content_is_a_damaged_cell_before_it_takes_memory(
    folder: Path, file: str, harm: Any, reason: str
) -> None:
    harm(folder / "af-ZA" / "ties" / file)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (damage,) = read_store(folder).damaged
    assert reason in damage.reason
    assert len(damage.reason) < 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 300_000  # KiB


@pytest.mark.parametrize("content", ["{}", "[1]", '{"error": 5}', '{"error": "a", "cell": 1}', "[" * 10**5, ""])
def test_a_record_of_a_failure_that_says_nothing_is_damage(tmp_path: Path, content: str) -> None:
    (tmp_path / "cell").mkdir()
    (tmp_path / "cell" / "error.json").write_text(content)
    (damage,) = read_store(tmp_path).damaged
    assert "error.json" in damage.reason


def test_folders_are_read_once_however_links_lead_to_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (folder, folder / "af-ZA", folder / "af-ZA" / "ties"):
        for number in range(3):
            (place / f"again-{number}").symlink_to(folder)
    (folder / "loop").symlink_to("loop")
    store = read_store(folder)
    assert len(store.cells) == 1
    monkeypatch.setattr(results_store, "MAX_FOLDERS", 2)
    with pytest.raises(UserError, match="has more than 2 folders in it: name the folder of the results"):
        read_store(folder)


def test_folders_deeper_than_a_path_may_be_long_are_told(folder: Path) -> None:
    where = os.open(folder, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=where)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=where)
        os.close(where)
        where = below
    os.close(where)
    store = read_store(folder)
    assert len(store.cells) == 1
    assert ["name too long" in damage.reason for damage in store.damaged] == [True]
