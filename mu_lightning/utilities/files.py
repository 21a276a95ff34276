"""Atomic and durable writes: what has its final name is whole, and nothing that was there before is lost.

Everything is written under a temporary sibling, flushed to the disk and renamed, and then the folder that holds the
name is flushed too, so that neither an exception, nor a kill, nor a power cut leaves half a result under its final
name. A temporary is locked while it is written: one that nobody holds was left by a kill, and the next write of the
same name removes it.
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

_SYNC_FILE_RANGE_WRITE = 2  # of <linux/fs.h>
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
_OCCUPIED = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR)


def refuse_existing(path: Path, what: str = "a result") -> None:
    """Raises UserError if `path` already holds something, which is never overwritten silently, or cannot be made."""
    refuse_locked(path)
    if path.is_dir():
        if any(not (one.is_dir() or _is_temporary(one) or one.name == INSIDE) for one in path.rglob("*")):
            raise UserError(f"{path} already holds {what}: name another place or remove it first")
        return  # at most what a kill left before anything had its name
    if path.exists() or path.is_symlink():
        raise UserError(f"{path} already holds {what}: name another place or remove it first")
    _check_writable(next(folder for folder in path.absolute().parents if folder.exists()), path)


@contextmanager
def reserved(path: Path | None, what: str = "a result") -> Iterator[None]:
    """Keeps a new output for this process alone until the block ends; nothing is kept for None.

    Raises:
        UserError: `path` already holds something, cannot be made, or is in use by another process.
    """
    if path is None:
        yield
        return
    _refuse_unreplaceable(path, what)
    with locked(path):
        refuse_existing(path, what)
        yield


def clear_temporaries(folder: Path, names: Iterable[Path] = ()) -> None:
    """Removes what kills left of writes that never had their name: all below a run's own folder, and beside `names`.

    What another process is writing stays.
    """
    for path in folder.rglob(".*.tmp"):
        if _is_temporary(path):
            _clear(path)
    for name in names:
        _clear_beside(name)


@contextmanager
def atomic_folder(path: Path, what: str = "a result") -> Iterator[Path]:
    """Yields a temporary sibling of `path` to fill; it takes the name `path` when the block ends without an exception.

    Raises:
        UserError: `path` already holds something. If it came to hold it meanwhile, the error says where the finished
            folder lies.
    """
    _refuse_unreplaceable(path, what)
    path = Path(os.path.realpath(path))  # a link to an empty folder stays a link
    with temporary_folder(path) as temporary:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                # Some libraries write through private temporary files; a result is as readable as any other file.
                (Path(folder) / name).chmod(0o666 & ~mask)
                _sync(Path(folder) / name)
            _sync(Path(folder))
        if path.is_dir():
            _remove_empty(path)
        try:
            temporary.rename(path)  # fails where there is anything but an empty folder
        except OSError as error:
            raise _finished_elsewhere(error, temporary, path) from error
        _sync(path.parent)


@contextmanager
def temporary_folder(name: Path, *, private: bool = False) -> Iterator[Path]:
    """A folder beside `name` that is removed when the block ends, or by the next one beside `name` after a kill.

    Args:
        name: what the folder is for.
        private: whether only this user may read it.
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
    """Sends a large file to the disk while it is still being computed, so that the last flush finds little left."""
    done = Event()

    def send() -> None:
        while not done.wait(0.02):
            with suppress(OSError):  # what is wrong with the disk the last flush says, where it is heard
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
    """Yields a temporary sibling of `path` to write; it takes the name `path` when the block ends without an exception.

    Args:
        path: the file.
        replace: whether it may take the place of an earlier file, which is then the writer's own.

    Raises:
        UserError: `path` came to exist meanwhile and is not to be replaced; the error says where the file lies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_beside(path)
    temporary = _temporary_name(path)
    with kept_open(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)) as descriptor:
        try_lock(descriptor)
        try:
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
    """Gives what lies at `path` a free name beside it, which is returned, so that something else can take its place."""
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


def _check_writable(folder: Path, path: Path) -> None:
    try:
        with TemporaryFile(dir=folder):  # rights tell too little: root has them everywhere
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be made: {folder} is not a folder that may be written to") from error


def _refuse_unreplaceable(path: Path, what: str) -> None:
    """As `refuse_existing`; an empty folder must be one that another can be put in the place of."""
    refuse_existing(path, what)
    if path.is_dir():
        real = Path(os.path.realpath(path))
        if os.path.ismount(real):
            raise UserError(f"{path} is a mount point, which cannot be replaced by {what}: name a folder in it")
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
    """Removes a temporary that no process holds."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # gone, a link, or somebody else's
        return
    with kept_open(descriptor):
        if not try_lock(descriptor):
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_empty(folder: Path) -> None:
    """Removes the empty folders below `folder`, and what kills left."""
    clear_temporaries(folder)
    for place, _, _ in os.walk(folder, topdown=False):
        if Path(place) != folder:
            with suppress(OSError):  # not empty: then what is in it stays
                Path(place).rmdir()


def _take_free_name(temporary: Path, path: Path) -> None:
    """Gives a file its name, unless there is something of that name by now."""
    try:
        try:
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno in _OCCUPIED:
                raise
            # A file system without hard links: the name is claimed first.
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            temporary.replace(path)
    except OSError as error:
        raise _finished_elsewhere(error, temporary, path) from error


def _finished_elsewhere(error: OSError, temporary: Path, path: Path) -> Exception:
    """The error for a name that was taken meanwhile; what is finished is kept beside it."""
    if error.errno not in _OCCUPIED:
        return error
    place = _free_name(path, temporary.is_dir())
    temporary.rename(place)
    return UserError(f"{path} came to exist meanwhile and was left as it is: the finished work lies in {place}")


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
    """Has the system write what it holds of a file, without waiting for the disk where it can be asked so.

    On Linux by sync_file_range(2), as a flush would keep the file from being written to meanwhile.
    """
    try:
        begin = CDLL(None).sync_file_range
    except (AttributeError, OSError, TypeError):  # another system
        os.fsync(descriptor)
        return
    begin(descriptor, c_int64(0), c_int64(0), _SYNC_FILE_RANGE_WRITE)
