"""Atomic and durable writes: files under their final name are complete, and existing files are not overwritten.

Outputs are written to a temporary sibling, synced and renamed, and the parent folder is synced, so that exceptions,
kills and power failures leave no partial output under the final name. Temporaries are locked while they are written;
unlocked ones were left by a kill and are removed by the next write of the same name.
"""

import errno
import glob
import itertools
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ctypes import CDLL, c_int64
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import Any, BinaryIO

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.locks import INSIDE, kept_open, locked, refuse_locked, try_lock
from mu_lightning.utilities.system_errors import system_error

_SYNC_FILE_RANGE_WRITE = 2  # of <linux/fs.h>
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_OCCUPIED = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def refuse_existing(path: Path, what: str = "a result") -> None:
    """Raises UserError if an output exists and is not empty, or cannot be created."""
    refuse_locked(path)
    if path.is_dir():
        if not is_empty(path):
            raise UserError(f"{path} already holds {what}: choose another output or remove it first")
        return  # at most leftovers of a killed process
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} already holds {what}: choose another output or remove it first")
    _check_writable(next(folder for folder in path.absolute().parents if folder.exists()), path)


def is_empty(path: Path) -> bool:
    """Whether there is nothing, or a folder without files but those that kills left before anything had its name."""
    if path.is_symlink() or not path.is_dir():
        return not os.path.lexists(path) or (path.is_dir() and is_empty(Path(os.path.realpath(path))))
    return all(one.is_dir() or _is_temporary(one) or one.name == INSIDE for one in path.rglob("*"))


@contextmanager
def reserved(path: Path | None, what: str = "a result") -> Iterator[None]:
    """Locks a new output for this process inside the block; does nothing for None.

    Raises:
        UserError: the output exists, cannot be created, or is in use by another process.
    """
    if path is None:
        yield
        return
    _refuse_unreplaceable(path, what)
    with locked(path):
        refuse_existing(path, what)
        yield


def clear_temporaries(folder: Path, names: Iterable[Path] = ()) -> None:
    """Removes leftover temporaries of killed processes: below a run folder, and next to `names`.

    Temporaries in use by other processes are kept.
    """
    for path in folder.rglob(".*.tmp"):
        if _is_temporary(path):
            _clear(path)
    for name in names:
        _clear_beside(name)


@contextmanager
def atomic_folder(path: Path, what: str = "a result") -> Iterator[Path]:
    """Yields a temporary sibling folder of `path`, which is renamed to `path` on success.

    Raises:
        UserError: `path` exists. If it was created meanwhile, the error names the location of the finished folder.
    """
    _refuse_unreplaceable(path, what)
    path = Path(os.path.realpath(path))  # a link to an empty folder is kept
    with temporary_folder(path) as temporary, _system_errors(path):
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                # Some libraries create files that are private to the user.
                (Path(folder) / name).chmod(0o666 & ~mask)
                _sync(Path(folder) / name)
            _sync(Path(folder))
        if path.is_dir():
            _remove_empty(path)
        try:
            temporary.rename(path)  # fails unless the target is an empty folder
        except OSError as error:
            raise _finished_elsewhere(error, temporary, path) from error
        _sync(path.parent)


@contextmanager
def temporary_folder(name: Path, *, private: bool = False) -> Iterator[Path]:
    """Yields a temporary folder next to `name`, which is removed at the end of the block.

    Args:
        name: the file that the folder is for.
        private: whether the folder is readable by this user only.
    """
    name.parent.mkdir(parents=True, exist_ok=True)
    _clear_beside(name)
    temporary = _temporary_name(name)
    temporary.mkdir(mode=0o700 if private else 0o777)
    with kept_open(os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
        try_lock(descriptor)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def written_behind(file: BinaryIO) -> Iterator[None]:
    """Writes a large file back to the disk in the background, so that the final sync is short."""
    done = Event()

    def send() -> None:
        while not done.wait(0.02):
            with suppress(OSError):  # errors are reported by the final sync
                _begin_to_write(file.fileno())

    sender = Thread(target=send, daemon=True)
    sender.start()
    try:
        yield
    finally:
        done.set()
        sender.join()


@contextmanager
def atomic_file(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Yields a temporary sibling file of `path`, which is renamed to `path` on success.

    Args:
        path: the file.
        replace: whether to replace an existing file.

    Raises:
        UserError: `path` was created meanwhile and must not be replaced; the error names the location of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_beside(path)
    temporary = _temporary_name(path)
    with kept_open(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)) as descriptor:
        try_lock(descriptor)
        try:
            with _system_errors(path):
                yield temporary
            _sync(temporary)
            if replace:
                temporary.replace(path)
            else:
                _take_free_name(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames a file or folder to a free sibling name and returns it."""
    aside = _free_name(path, path.is_dir())
    path.rename(aside)
    return aside


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` atomically, as JSON with an indent of 2."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Has the system's errors, such as for a full disk, name what was being written, in place of a library's own."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    except Exception as error:
        found = system_error(error, path)
        if found is None:
            raise
        raise found from error


def _check_writable(folder: Path, path: Path) -> None:
    try:
        with TemporaryFile(dir=folder):  # permissions are not sufficient: root has all of them
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be made: {folder} is not a writable folder") from error


def _refuse_unreplaceable(path: Path, what: str) -> None:
    """Like `refuse_existing`, and raises UserError if an empty folder cannot be replaced."""
    refuse_existing(path, what)
    if path.is_dir():
        real = Path(os.path.realpath(path))
        if os.path.ismount(real):
            raise UserError(f"{path} is a mount point, which cannot be replaced by {what}: choose a folder in it")
        _check_writable(real.parent, path)


def _temporary_name(path: Path) -> Path:
    return path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"


def _is_temporary(path: Path) -> bool:
    return _TEMPORARY.fullmatch(path.name) is not None


def _clear_beside(name: Path) -> None:
    for path in name.parent.glob(f".{glob.escape(name.name)}.*.tmp"):
        if _is_temporary(path):
            _clear(path)


def _clear(path: Path) -> None:
    """Removes an unlocked temporary."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # missing, a link, or owned by another user
        return
    with kept_open(descriptor):
        if not try_lock(descriptor):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Removes empty folders and leftover temporaries below a folder."""
    clear_temporaries(folder)
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder:
            with suppress(OSError):  # not empty
                Path(place).rmdir()


def _take_free_name(temporary: Path, path: Path) -> None:
    """Renames a file unless the target exists."""
    try:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno in _OCCUPIED:
                raise
            # File system without hard links: create the target first.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            temporary.replace(path)
    except OSError as error:
        raise _finished_elsewhere(error, temporary, path) from error


def _finished_elsewhere(error: OSError, temporary: Path, path: Path) -> Exception:
    """The error for a target that was created meanwhile; the finished output is kept next to it."""
    if error.errno not in _OCCUPIED:
        return error
    place = _free_name(path, temporary.is_dir())
    temporary.rename(place)
    return UserError(f"{path} was created meanwhile and was not changed: the finished output is in {place}")


def _free_name(path: Path, is_folder: bool) -> Path:
    stem, suffix = (path.name, "") if is_folder else (path.stem, path.suffix)
    names = (path.with_name(f"{stem}-{number}{suffix}") for number in itertools.count(2))
    return next(name for name in names if not os.path.lexists(name))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _begin_to_write(descriptor: int) -> None:
    """Starts writeback of a file without waiting.

    On Linux it uses sync_file_range(2), because a sync would block concurrent writes.
    """
    try:
        begin = CDLL(None).sync_file_range
    except (AttributeError, OSError, TypeError):  # another system
        os.fsync(descriptor)
        return
    begin(descriptor, c_int64(0), c_int64(0), _SYNC_FILE_RANGE_WRITE)
