"""What has its final name is whole, whatever ends the writing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from threading import Event
from unittest.mock import Mock

import pytest

from mu_lightning.utilities import files
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import (
    atomic_file,
    atomic_folder,
    clear_temporaries,
    refuse_existing,
    reserved,
    set_aside,
    temporary_folder,
    write_json,
    write_text,
    written_behind,
)


def test_a_folder_takes_its_name_when_it_is_filled(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result"
    with atomic_folder(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "one.txt").write_text("1")
        assert temporary.parent == path.parent, "a rename across file systems would not be atomic"
        assert not path.exists()
    assert (path / "inner" / "one.txt").read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_folder_that_is_not_finished_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "result") as temporary:
            (temporary / "half").write_text("half")
            raise error

    with pytest.raises(error):
        fill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_file_that_is_not_finished_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    def write(path: Path) -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    (tmp_path / "old").write_text("whole")
    for name in ("old", "new"):
        with pytest.raises(error):
            write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "whole"


def test_an_empty_folder_may_be_filled_but_one_with_a_result_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "one").write_text("1")
    with (
        pytest.raises(UserError, match="result already holds a model: choose another output"),
        atomic_folder(path, "a model"),
    ):
        pytest.fail("the block must not run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]
    assert (path / "one").read_text() == "1"


def test_a_file_where_a_folder_is_to_go_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="already holds"):
        refuse_existing(tmp_path / "file")
    refuse_existing(tmp_path / "nothing")


@pytest.mark.parametrize("context", ["atomic_folder", "atomic_file"])
def test_a_kill_in_the_middle_leaves_no_final_name(tmp_path: Path, context: str) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        f"from mu_lightning.utilities.files import {context} as context\n"
        "with context(Path(sys.argv[1]) / 'result') as temporary:\n"
        "    path = temporary / 'half' if temporary.is_dir() else temporary\n"
        "    path.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "result").exists()
    assert len(list(tmp_path.iterdir())) == 1, "it was killed before it wrote anything"
    with getattr(files, context)(tmp_path / "result") as temporary:  # and the next try succeeds
        (temporary / "whole" if temporary.is_dir() else temporary).write_text("whole")
    assert (tmp_path / "result").exists()


def test_everything_is_flushed_before_the_rename_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
    )
    rename, replace = Path.rename, Path.replace
    monkeypatch.setattr(Path, "rename", lambda self, to: (events.append("rename"), rename(self, to))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), replace(self, to))[1])
    with atomic_folder(tmp_path / "result") as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "one").write_text("1")
        folder = temporary.name
    assert events == ["one", "inner", folder, "rename", tmp_path.name]
    events.clear()
    write_text(tmp_path / "text", "é")
    assert events[1:] == ["rename", tmp_path.name]
    assert events[0].startswith(".text.")


def test_text_and_json_are_written_as_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ñ\n")
    assert (tmp_path / "a.txt").read_bytes() == "ñ\n".encode()
    write_json(tmp_path / "new" / "b.json", {"é": [1, 2.5, None]})
    assert "é" in (tmp_path / "new" / "b.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "new" / "b.json").read_text(encoding="utf-8")) == {"é": [1, 2.5, None]}


def test_a_value_that_json_lacks_replaces_nothing(tmp_path: Path) -> None:
    write_json(tmp_path / "b.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "b.json", {1, 2})
    assert (tmp_path / "b.json").read_text() == "1\n"


def test_a_file_that_was_written_privately_is_as_readable_as_any_other(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "weights").touch(mode=0o600)
    (tmp_path / "other").touch()
    assert (tmp_path / "model" / "weights").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_is_sent_to_the_disk_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []
    seen = Event()
    begin = files._begin_to_write
    monkeypatch.setattr(
        files, "_begin_to_write", lambda descriptor: [begin(descriptor), begun.append(descriptor), seen.set()]
    )
    with (tmp_path / "large").open("wb") as file, written_behind(file):
        file.write(b"much")
        file.flush()
        assert seen.wait(10)
        descriptor = file.fileno()
    assert set(begun) == {descriptor}
    count = len(begun)
    assert not Event().wait(0.1)
    assert len(begun) == count, "it went on when the file was closed"


@pytest.mark.parametrize("there", [True, False])
def test_a_system_that_cannot_begin_flushes(there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, flushed = [], []

    class Library:
        if there:

            @staticmethod
            def sync_file_range(*given: object) -> int:
                asked.append([getattr(one, "value", one) for one in given])
                return 0

    monkeypatch.setattr(files, "CDLL", lambda name: Library)
    monkeypatch.setattr(files.os, "fsync", flushed.append)
    files._begin_to_write(7)
    assert (asked, flushed) == (([[7, 0, 0, 2]], []) if there else ([], [7]))


def test_a_place_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is not a writable folder"):
        refuse_existing(tmp_path / "file" / "run" / "deep")
    refuse_existing(tmp_path / "not yet" / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody may write")
def test_a_place_where_not_even_root_may_write_is_refused() -> None:
    with pytest.raises(UserError, match="/proc is not a writable folder"):
        refuse_existing(Path("/proc/run"))


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    run, export = tmp_path / "run", tmp_path / "models" / "af"
    for folder in (run / "deep" / ".one.0000aaaa.tmp", run / "whole", export.parent / ".af.0000aaaa.tmp"):
        folder.mkdir(parents=True)
        (folder / "file").write_text("half")
    for name in (run / ".two.0000aaaa.tmp", export.parent / ".other.0000aaaa.tmp", run / "three.tmp"):
        name.write_text("half")
    clear_temporaries(run, [export])
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["models/.other.0000aaaa.tmp", "run/three.tmp", "run/whole/file"]


def named(path: Path) -> dict[str, str]:
    """Every file below a folder with its content."""
    return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*") if one.is_file()}


def test_what_came_to_be_at_a_folders_name_stays_and_the_finished_work_lies_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "xlm-v1.0"

    def fill(what: str) -> None:
        with atomic_folder(path) as temporary:
            (temporary / "model").write_text("merged")
            if what == "folder":
                path.mkdir()
                (path / "thesis").write_text("only copy")
            else:
                path.write_text("only copy")

    for what in ("folder", "file"):
        with pytest.raises(UserError, match=rf"v1.0 was created meanwhile .* is in {tmp_path}/xlm-v1.0-\d$"):
            fill(what)
        found = named(tmp_path)
        assert list(found.values()).count("only copy") == 1
        if what == "folder":
            assert found == {"xlm-v1.0/thesis": "only copy", "xlm-v1.0-2/model": "merged"}
            shutil.rmtree(path)
    assert named(tmp_path) == {"xlm-v1.0": "only copy", "xlm-v1.0-2/model": "merged", "xlm-v1.0-3/model": "merged"}


def test_a_file_that_may_not_be_replaced_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(name: str, meanwhile: str = "") -> None:
        with atomic_file(tmp_path / name, replace=False) as temporary:
            temporary.write_text("new")
            if meanwhile:
                (tmp_path / name).write_text(meanwhile)

    for links in (True, False):
        if not links:  # as on some network and removable disks
            monkeypatch.setattr(Path, "hardlink_to", Mock(side_effect=PermissionError(1, "not permitted")))
        name = f"{links}.csv"
        write(f"free-{name}")
        with pytest.raises(UserError, match=rf"{name} was created meanwhile .*{links}-2.csv"):
            write(name, "only copy")
        assert (tmp_path / name).read_text() == "only copy"
        assert (tmp_path / f"{links}-2.csv").read_text() == (tmp_path / f"free-{name}").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 6


def test_a_link_to_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "disk" / "large" / "empty").mkdir(parents=True)
    (tmp_path / "out").symlink_to("disk/large")
    with atomic_folder(tmp_path / "out") as temporary:
        (temporary / "one").write_text("1")
    assert (tmp_path / "out").is_symlink()
    assert named(tmp_path / "disk") == {"large/one": "1"}
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(UserError, match="broken already holds"), reserved(tmp_path / "broken"):
        pytest.fail("the block must not run")


def test_a_write_removes_what_a_kill_left_of_its_name_but_nothing_that_is_held_or_not_its_own(tmp_path: Path) -> None:
    (tmp_path / ".a.json.0000aaaa.tmp").write_text("killed")
    (tmp_path / ".a.json.0000bbbb.tmp").mkdir()
    (tmp_path / ".a.json.0000bbbb.tmp" / "half").write_text("killed")
    others = (".a.json.backup.tmp", ".a.json.tmp", "a.json.0000aaaa.tmp", ".b.json.0000aaaa.tmp")
    for name in others:
        (tmp_path / name).write_text("somebody's")
    (tmp_path / ".a.json.0000cccc.tmp").symlink_to(".b.json.0000aaaa.tmp")
    with atomic_file(tmp_path / "a.json") as held, temporary_folder(tmp_path / "a.json") as folder:
        write_json(tmp_path / "a.json", 1)
        assert held.exists()
        assert folder.exists()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([*others, ".a.json.0000cccc.tmp", "a.json"])


def test_a_reserved_name_is_refused_where_it_holds_something(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes").write_text("mine")
    with pytest.raises(UserError, match="already holds a model"), reserved(tmp_path / "run", "a model"):
        pytest.fail("the block must not run")
    with reserved(None), reserved(tmp_path / "new"):
        assert sorted(path.name for path in tmp_path.iterdir()) == [".new.lock", "run"]


def test_what_is_set_aside_keeps_its_content_under_another_name(tmp_path: Path) -> None:
    for place in range(2, 4):
        (tmp_path / "cell").mkdir()
        (tmp_path / "cell" / "notes").write_text("mine")
        assert set_aside(tmp_path / "cell") == tmp_path / f"cell-{place}"
    assert named(tmp_path) == {"cell-2/notes": "mine", "cell-3/notes": "mine"}
