"""A cache of arrays of whole numbers on the disk: each is mapped into memory, and computed anew where it is corrupt."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file

_DIGEST = hashlib.sha256().digest_size // np.dtype(np.int32).itemsize  # in front of each array


def cache_dir() -> Path:
    """Where derived data is kept between runs: ``$MU_CACHE_DIR``, else ``~/.cache/mu-lightning``."""
    return Path(os.environ.get("MU_CACHE_DIR") or Path.home() / ".cache" / "mu-lightning")


def cached(key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of that key, computed where the cache does not have it.

    Args:
        key: names all that the array depends on.
        compute: gives the array, of one dimension and int32.

    Returns:
        The array, mapped from a file of the cache, of which nothing can be changed.

    Raises:
        UserError: the cache cannot be written to.
    """
    path = cache_dir() / "tokens" / f"{key}.npy"
    try:
        found = _read(path) if path.exists() else None
        if found is None:
            _write(path, compute())
            found = _read(path)
    except OSError as error:
        raise UserError(
            f"the cache {cache_dir()} cannot be used ({error.strerror or error}): name another folder in MU_CACHE_DIR"
        ) from error
    if found is None:
        raise UserError(f"{path} is not what was written there: name another folder in MU_CACHE_DIR")
    return found


def _read(path: Path) -> np.ndarray | None:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if stored.dtype == np.int32 and stored.ndim == 1 and stored[:_DIGEST].tobytes() == _digest(stored[_DIGEST:]):
            numbers: np.ndarray = stored[_DIGEST:]
            return numbers
    except OSError:
        raise
    except Exception:  # NumPy raises many kinds for a header that is not its own
        pass
    print(f"{path} is corrupt; recomputing", file=sys.stderr)
    return None


def _write(path: Path, numbers: np.ndarray) -> None:
    whole = np.concatenate([np.frombuffer(_digest(numbers), np.int32), numbers])
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, whole, allow_pickle=False)


def _digest(numbers: np.ndarray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(numbers).data).digest()
