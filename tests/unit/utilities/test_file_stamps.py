"""Files that changed after they were hashed are noticed, however they changed."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mu_lightning.utilities import file_stamps
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.file_stamps import check_same, check_watched, identity_of, stamp, watch, watched_files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "model").write_bytes(b"content")
    (tmp_path / "other").write_bytes(b"CONTENT")
    return tmp_path / "model"


def replaced(path: Path) -> None:
    path.with_name("other").replace(path)


def written_to_with_its_time_kept(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.write(b"C")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    os.truncate(path, 3)


CHANGES = [replaced, written_to_with_its_time_kept, cut, Path.unlink]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changed_is_noticed_when_it_is_read_and_afterwards(
    path: Path, change: Callable[[Path], None]
) -> None:
    before = stamp(path)

    def read_before_the_change() -> None:
        with watched_files():
            watch([before])
            check_watched()
            change(path)

    with pytest.raises(UserError, match="model has changed since the run began"):
        read_before_the_change()
    with pytest.raises(UserError, match="model has changed since the run began"):
        watch([before])


def same_content_again(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").replace(path)


def another_link(path: Path) -> None:
    path.with_name("link").hardlink_to(path)


@pytest.mark.parametrize("change", [same_content_again, another_link, Path.touch, lambda path: path.chmod(0o600)])
def test_a_file_of_the_same_content_is_the_same(path: Path, change: Callable[[Path], None]) -> None:
    before = stamp(path)
    with watched_files():
        watch([before])
        change(path)
    check_watched()
    assert stamp(path).sha256 == before.sha256


def test_a_file_is_hashed_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stamp(path)
    monkeypatch.setattr(file_stamps, "file_hash", None)
    assert stamp(path) == before
    before.check()


def test_a_file_that_changes_while_it_is_hashed_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_stamps, "file_hash", lambda one: (replaced(one), "ab")[1])
    with pytest.raises(UserError, match="model changed while it was read"):
        stamp(path)


@pytest.mark.parametrize("change", [replaced, cut, Path.unlink])
def test_what_was_not_hashed_is_known_by_its_place_size_and_time(path: Path, change: Callable[[Path], None]) -> None:
    before = {path: identity_of(path)}
    another_link(path)
    check_same(before)
    change(path)
    with pytest.raises(UserError, match="model changed while it was read"):
        check_same(before)
