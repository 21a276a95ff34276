"""The results store: what is written is read back, and what is not whole is told apart from what is."""

import json
import os
import resource
import shutil
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results import store as results_store
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

HEADER = {"descr": "|u1", "fortran_order": False}


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
        ("results.json", edited(name=["a"]), "in place of a str"),
        ("results.json", edited(cell=CELL | {"weights": {"nl-NL": float("inf")}}), "out of range"),
        ("results.json", edited(cell=CELL | {"seed": True}), "True is there in place of a"),
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
