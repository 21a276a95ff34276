"""File locks for outputs, which the system releases when the process ends.

The lock of ``runs/NAME`` is the file ``runs/.NAME.lock``, which names the holder. It is locked with flock(2), so a
file left by a killed process is not locked.
"""

import fcntl
import json
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from mu_lightning.utilities.errors import UserError

INSIDE = ".lock"  # name of a lock file inside the output
_COMMAND_LENGTH = 200

_descriptors: set[int] = set()
_outputs: set[Path] = set()


@contextmanager
def locked(*outputs: Path) -> Iterator[None]:
    """Locks outputs for this process inside the block.

    Missing parent folders are created, and removed again if they are empty.

    Raises:
        UserError: another process holds a lock, or the folder is not writable.
    """
    with ExitStack() as stack:
        for output in outputs:
            stack.enter_context(_locked(output))
        yield


def refuse_locked(output: Path) -> None:
    """Raises UserError if another process holds the lock of an output."""
    path = lock_file(output)
    if path in _outputs:
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if try_lock(descriptor, shared=True) is False:
            raise _held(output, path)
    finally:
        os.close(descriptor)


def lock_file(output: Path) -> Path:
    """Returns the path of the lock file: next to the output, or inside if only the output is writable."""
    real = Path(os.path.realpath(output))
    inside = real.is_dir() and (os.path.ismount(real) or not os.access(real.parent, os.W_OK))
    return real / INSIDE if inside else real.parent / f".{real.name}.lock"


def try_lock(descriptor: int, shared: bool = False) -> bool | None:
    """Locks an open file or folder; returns False if another process holds the lock, None without lock support."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def kept_open(descriptor: int) -> Iterator[int]:
    """Closes a descriptor at the end of the block; forked children don't inherit it."""
    _descriptors.add(descriptor)
    try:
        yield descriptor
    finally:
        _descriptors.discard(descriptor)
        os.close(descriptor)


def _close_inherited() -> None:
    for descriptor in _descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _descriptors.clear()
    _outputs.clear()


os.register_at_fork(after_in_child=_close_inherited)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    path = lock_file(output)
    missing = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _acquired(output, path)
    except OSError as error:
        raise UserError(f"{output} cannot be made: {path.parent} cannot be written to ({error.strerror})") from error
    with kept_open(descriptor):
        _outputs.add(path)
        try:
            holder = {
                "process": os.getpid(),
                "host": socket.gethostname(),
                "command": shlex.join(sys.argv)[:_COMMAND_LENGTH],
                "since": datetime.now().isoformat(timespec="seconds"),
            }
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(holder).encode())
            yield
        finally:
            _outputs.discard(path)
            with suppress(OSError):
                path.unlink()
    for folder in missing:
        with suppress(OSError):  # not empty
            folder.rmdir()


def _acquired(output: Path, path: Path) -> int:
    """Opens and locks a file; raises UserError if another process holds the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        found = try_lock(descriptor)
        if found is False:
            os.close(descriptor)
            raise _held(output, path)
        if found is None:
            print(
                f"warning: {path.parent} has no locks: concurrent runs in {output} are not detected",
                file=sys.stderr,
            )
        # The last holder may have removed the file between the two calls.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _held(output: Path, path: Path) -> UserError:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {holder['process']} on {holder['host']}, since {holder['since']} ({holder['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return UserError(f"{output} is in use by {who}: wait, or choose another output")
