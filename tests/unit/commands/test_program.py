"""The program: how it ends, and what it says then."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from mu_lightning.commands import program
from mu_lightning.commands.program import main
from mu_lightning.utilities.errors import Interrupted, UserError

ROOT = Path(__file__).parents[3]


def ended(monkeypatch: pytest.MonkeyPatch, error: BaseException, command: str = "fit") -> int:
    """The status with which a command ends that raises `error`."""
    monkeypatch.setattr(program, "importlib", Mock(**{"import_module.return_value.run.side_effect": error}))
    return main([command, "--seed", "1"])


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such locale"), "error: no such locale"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a"),
            "error: runs/a: No space left on device: make room, or name another place",
        ),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "error: Read-only file system: name another place"),
        (PermissionError(errno.EACCES, "Permission denied", "/root"), "error: /root: Permission denied: name another"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "gone"),
            "error: gone: No such file or directory",
        ),
    ],
)
def test_what_the_system_refuses_is_one_line(
    error: Exception, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, error) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(line)


def test_an_error_of_a_library_is_no_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="a model of another library"):
        ended(monkeypatch, OSError("a model of another library"))


def stopped(resumable: bool) -> Interrupted:
    found = Interrupted("SIGTERM", 143, "after step 4")
    found.resumable = resumable
    return found


@pytest.mark.parametrize(
    ("command", "error", "status", "advice"),
    [
        ("fit", stopped(True), 143, "stopped by SIGTERM after step 4; resume with: * fit --seed 1 --resume"),
        ("fit", stopped(False), 143, "stopped by SIGTERM after step 4"),
        ("fit", KeyboardInterrupt(), 130, "interrupted; no partial output was left"),
        ("pretrain", KeyboardInterrupt(), 130, "interrupted; no partial output was left"),
        ("sweep", KeyboardInterrupt(), 130, "interrupted; no partial output was left; resume with: * sweep --seed 1"),
        ("merge", KeyboardInterrupt(), 130, "interrupted; no partial output was left"),
    ],
)
def test_resuming_is_advised_where_something_was_begun(
    command: str,
    error: BaseException,
    status: int,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ended(monkeypatch, error, command) == status
    (said,) = capsys.readouterr().err.splitlines()
    before, _, after = advice.partition(" * ")
    assert said.startswith(before)
    assert said.endswith(after or before)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, str(ROOT / "cli.py"), "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100, cwd=ROOT)
    assert (done.returncode, done.stderr) == (2, "error: No space left on device: make room, or name another place\n")
