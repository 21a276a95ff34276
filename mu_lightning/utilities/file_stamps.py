"""Whether files still are what they were when they were hashed, although they are read again later."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mu_lightning.utilities.checksums import file_hash
from mu_lightning.utilities.errors import UserError

Identity = tuple[int, ...]


@dataclass(frozen=True)
class FileStamp:
    """A file as it was when it was hashed.

    Attributes:
        path: the file.
        identity: device, inode, size and times of change: where they are the same, so is the content.
        sha256: of the content.
    """

    path: Path
    identity: Identity
    sha256: str

    def check(self) -> None:
        """Raises UserError if the content is not what it was."""
        with suppress(OSError):
            if identity_of(self.path) == self.identity or stamp(self.path).sha256 == self.sha256:
                return
        raise UserError(f"{self.path} has changed since the run began: it was replaced, written to or removed")


def identity_of(path: Path) -> Identity:
    """What changes with every change of a file's content, and with a few others."""
    found = path.stat()
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def check_same(identities: Mapping[Path, Identity]) -> None:
    """Raises UserError for files that were replaced or written to since `identity_of` told theirs."""
    for path, before in identities.items():
        with suppress(OSError):
            if identity_of(path)[:-1] == before[:-1]:  # links and rights may change
                continue
        raise UserError(f"{path} changed while it was read: start again once it is written")


def stamp(path: Path) -> FileStamp:
    """Hashes a file.

    Raises:
        UserError: it changed meanwhile.
    """
    before = identity_of(path)
    digest = _hash(path, before)
    if identity_of(path) != before:
        raise UserError(f"{path} changed while it was read: start again once it is written")
    return FileStamp(path, before, digest)


@lru_cache(maxsize=4096)
def _hash(path: Path, identity: Identity) -> str:
    return file_hash(path)


_watched: ContextVar[list[FileStamp] | None] = ContextVar("watched", default=None)


@contextmanager
def watched_files() -> Iterator[None]:
    """Raises UserError at the block's end if a file changed that was read in it, see `watch`."""
    token = _watched.set([])
    try:
        yield
        check_watched()
    finally:
        _watched.reset(token)


def watch(stamps: Iterable[FileStamp]) -> None:
    """Checks files that are about to be read, and has them checked again where `watched_files` ends."""
    for one in stamps:
        one.check()
        found = _watched.get()
        if found is not None:
            found.append(one)


def check_watched() -> None:
    """Raises UserError if a file changed that was read so far: what was computed of it is nothing to keep."""
    for one in _watched.get() or ():
        one.check()
