"""A cell's folder: what is in its place makes room, and nothing of anybody's is lost."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mu_lightning.evaluation.metrics import score
from mu_lightning.results.cells import is_whole, write_cell, write_failure
from mu_lightning.results.identity import Identity
from mu_lightning.results.results import Result
from mu_lightning.results.store import read_store
from mu_lightning.utilities.errors import UserError

IDENTITY = Identity(
    {"target": "af-ZA", "split": "test", "data": {"corpus": "cldr"}}, {"approach": "one_shot"}, 0, "linear"
)


def write(folder: Path) -> None:
    rows = np.arange(4)
    write_cell(folder, [Result(IDENTITY, score("af-ZA", np.array(list("abcd")), rows, rows))])


def nothing(place: Path) -> None:
    pass


def file(place: Path) -> None:
    place.parent.mkdir()
    place.write_text("mine")


def file_above(place: Path) -> None:
    place.parent.write_text("mine")


def foreign_folder(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "notes.txt").write_text("mine")


def link(place: Path) -> None:
    foreign_folder(place.parent.parent / "elsewhere")
    place.parent.mkdir()
    place.symlink_to("../elsewhere")


def half(place: Path) -> None:
    write(place)
    (place / "results.json").unlink()


def half_with_notes(place: Path) -> None:
    half(place)
    (place / "notes.txt").write_text("mine")


def damaged(place: Path) -> None:
    write(place)
    (place / "predictions.npz").write_bytes(b"cut")


def failed(place: Path) -> None:
    write_failure(place, "gone", "", IDENTITY.plain())


def folder_of_a_files_name(place: Path) -> None:
    foreign_folder(place / "results.json")


@pytest.mark.parametrize(
    "there",
    [nothing, file, file_above, foreign_folder, link, half, half_with_notes, damaged, failed, folder_of_a_files_name],
)
@pytest.mark.parametrize("writing", [write, failed])
def test_a_cell_is_computed_again_whatever_is_in_its_place(
    tmp_path: Path, there: Callable[[Path], None], writing: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "results" / "af-ZA" / "merge_linear"
    place.parent.parent.mkdir()
    there(place)
    mine = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"mine"]
    assert not is_whole(place)
    writing(place)
    store = read_store(tmp_path / "results")
    assert (len(store.cells), len(store.failed), store.damaged) == ((1, 0, ()) if writing is write else (0, 1, ()))
    kept = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path.read_bytes() == b"mine"]
    assert kept == mine
    said = capsys.readouterr().out
    assert ("it now is" in said) == (
        there in (file, file_above, foreign_folder, link, half_with_notes, folder_of_a_files_name)
    )
    assert ("is corrupt; recomputing" in said) == (there is damaged)


def test_a_whole_cell_is_never_replaced(tmp_path: Path) -> None:
    write(tmp_path / "cell")
    assert is_whole(tmp_path / "cell")
    for writing in (write, failed):
        with pytest.raises(UserError, match="already holds a result"):
            writing(tmp_path / "cell")
    assert len(read_store(tmp_path).cells) == 1
