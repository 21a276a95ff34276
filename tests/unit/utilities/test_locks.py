"""One process at a time at an output; what a killed one left locks nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mu_lightning.utilities import locks
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import refuse_existing, reserved
from mu_lightning.utilities.locks import lock_file, locked, refuse_locked

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from mu_lightning.utilities.locks import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)
Hold = Callable[[Path], subprocess.Popen[str]]


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Starts a process that holds an output until its input ends."""
    started: list[subprocess.Popen[str]] = []

    def start(output: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLD, str(output)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=Path(__file__).parents[3], **pipes)  # type: ignore[call-overload]
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("refuse", [refuse_locked, refuse_existing, lambda path: locked(path).__enter__()])
def test_an_output_that_another_process_holds_is_refused_with_its_name(
    tmp_path: Path, hold: Hold, refuse: Callable[[Path], None]
) -> None:
    process = hold(tmp_path / "run")
    with pytest.raises(UserError, match=rf"run is in use by process {process.pid} on .*, since .*-c"):
        refuse(tmp_path / "run")
    refuse(tmp_path / "other")
    process.communicate("")
    refuse(tmp_path / "run")


def test_a_lock_of_a_killed_process_is_nobodys(tmp_path: Path, hold: Hold) -> None:
    process = hold(tmp_path / "run")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert lock_file(tmp_path / "run").is_file()
    refuse_existing(tmp_path / "run")
    with locked(tmp_path / "run"):
        assert str(os.getpid()) in lock_file(tmp_path / "run").read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_leaves_nothing_behind_but_what_came_beside_it(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "runs" / "one", tmp_path / "new" / "models" / "two"):
        (tmp_path / "new" / "models" / "two").mkdir()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["models", "new", "two"]


def test_of_several_outputs_all_are_held_or_none(tmp_path: Path, hold: Hold) -> None:
    hold(tmp_path / "second")
    with pytest.raises(UserError, match="second is in use"), locked(tmp_path / "first", tmp_path / "second"):
        pytest.fail("the block must not run")
    with locked(tmp_path / "first"):
        pass


def test_a_forked_child_keeps_no_lock(tmp_path: Path) -> None:
    """A data loader's worker may outlive the run that started it."""
    read, write = os.pipe()
    with locked(tmp_path / "run"):
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    try:
        with locked(tmp_path / "run"):
            pass
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)


def test_a_link_and_what_it_points_to_are_one_output(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    assert lock_file(tmp_path / "link") == lock_file(tmp_path / "run") == tmp_path / ".run.lock"


def test_a_mount_point_has_its_lock_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == tmp_path)
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
        refuse_existing(tmp_path)
    with pytest.raises(UserError, match="is a mount point"), reserved(tmp_path, "a model"):
        pytest.fail("the block must not run")


def test_a_file_system_without_locks_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(locks.fcntl, "flock", unsupported)
    with locked(tmp_path / "run"):
        pass
    assert "not detected" in capsys.readouterr().err


def test_a_place_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(UserError, match="/proc/runs/one cannot be made"), locked(Path("/proc/runs/one")):
        pytest.fail("the block must not run")
