"""A folder that lists its files is removed without anybody else's."""

import json
from pathlib import Path

import pytest

from mu_lightning.utilities.listings import LISTING, remove_listed, unlisted, write_listing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two listed model folders in one."""
    for target in ("af-ZA", "sq-AL"):
        (tmp_path / "merge" / target / "adapter").mkdir(parents=True)
        for name in ("config.json", "adapter/weights"):
            (tmp_path / "merge" / target / name).write_text("ours")
        write_listing(tmp_path / "merge" / target)
    return tmp_path / "merge"


def test_what_is_listed_is_removed_with_its_folder(folder: Path) -> None:
    assert unlisted(folder) == []
    remove_listed(folder)
    assert list(folder.parent.iterdir()) == []


def test_what_is_not_listed_stays(folder: Path) -> None:
    mine = [folder / "notes.txt", folder / "sq-AL" / "adapter" / "notes.txt"]
    for path in mine:
        path.write_text("mine")
    (folder / "af-ZA" / "link").symlink_to(folder.parent)
    assert unlisted(folder) == sorted([*mine, folder / "af-ZA" / "link"])
    remove_listed(folder)
    left = sorted(path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())
    assert left == sorted([*mine, folder / "af-ZA" / "link"])


@pytest.mark.parametrize("names", ["", "5", json.dumps(["../../precious"]), json.dumps(["{tmp}/precious"]), '[["a"]]'])
def test_a_listing_that_is_damaged_or_leads_elsewhere_lists_nothing(folder: Path, names: str) -> None:
    (folder.parent / "precious").write_text("mine")
    listing = folder / "af-ZA" / LISTING
    listing.write_text(names.replace("{tmp}", str(folder.parent)))
    assert len(unlisted(folder)) == 2
    remove_listed(folder)
    assert (folder.parent / "precious").read_text() == "mine"
    assert (folder / "af-ZA" / "config.json").read_text() == "ours"
