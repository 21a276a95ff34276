"""Atomic and durable writes: what has its final name is whole.

Everything is written under a temporary sibling, flushed to the disk and renamed, and then the folder that holds the
name is flushed too, so that neither an exception, nor a kill, nor a power cut leaves half a result under its final
name.
"""

import json
import os
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

_SYNC_FILE_RANGE_WRITE = 2  # of <linux/fs.h>


def refuse_existing(path: Path, what: str = "a result") -> None:
    """Raises UserError if `path` already holds something, which is never overwritten silently, or cannot be made."""
    if path.is_dir() and not any(one.is_file() and not _is_temporary(one) for one in path.rglob("*")):
        return  # at most what a kill left before anything had its name
    if path.exists():
        raise UserError(f"{path} already holds {what}: name another place or remove it first")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with TemporaryFile(dir=above):  # rights tell too little: root has them everywhere
            pass
    except OSError as error:
        raise UserError(f"{path} cannot be made: {above} is not a folder that may be written to") from error


def clear_temporaries(folder: Path, names: Iterable[Path] = ()) -> None:
    """Removes what a kill left of writes that never had their name: all below a run's own folder, and beside `names`.

    Nothing else may be writing there.
    """
    leftovers = [path for path in folder.rglob(".*.tmp") if _is_temporary(path)]
    for name in names:
        leftovers += name.parent.glob(f".{name.name}.*.tmp")
    for path in leftovers:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, what: str = "a result") -> Iterator[Path]:
    """Yields a temporary sibling of `path` to fill; it takes the name `path` when the block ends without an exception.

    Raises:
        UserError: `path` already holds something.
    """
    refuse_existing(path, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        for folder, _, names in os.walk(temporary, topdown=False):
            for name in names:
                # Some libraries write through private temporary files; a result is as readable as any other file.
                (Path(folder) / name).chmod(0o666 & ~mask)
                _sync(Path(folder) / name)
            _sync(Path(folder))
        if path.is_dir():  # empty: refuse_existing saw to that
            shutil.rmtree(path)
        temporary.rename(path)
        _sync(path.parent)
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
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of `path` to write; it replaces `path` when the block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` atomically, as JSON with an indent of 2."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


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
