"""What memory the process holds, the most that it held for a while, and what it has freed but not handed back."""

import ctypes
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

# Seconds between two looks at the process' memory.
_LOOK = 0.002
# The names of mallopt's parameters, in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def hand_back() -> None:
    """Hands freed memory back to the system, where the C library can (glibc): what comes next needs other sizes."""
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def keep_freed() -> None:
    """Lets the C library (glibc) keep some of what is freed, for what is allocated next: steps take the same again.

    By default it hands the end of its memory back as soon as it is free, and the system must clear it for the next
    step. `hand_back` still does.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 10 * 2**20)  # larger ones come from the system itself, and go back to it
        mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)


def private_memory() -> int:
    """Bytes of memory that the process has for itself: not what it has mapped from files (``RssAnon``, on Linux).

    Elsewhere all that is resident.
    """
    found = _status("RssAnon")
    if found is not None:
        return found
    import psutil

    return int(psutil.Process().memory_info().rss)


class Watched:
    """A context in which the memory of a device is watched; on a CPU that is the process' own.

    Linux keeps the most that a process has held, and forgets it where it is told to (clear_refs, proc(5)). Where it
    cannot be told, a thread looks now and then.

    Args:
        device: the device.

    Attributes:
        most: afterwards: the most bytes that were held beyond those at its start.
    """

    def __init__(self, device: torch.device) -> None:
        self.most = 0
        self._device = device
        self._over = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start = torch.cuda.memory_allocated(self._device)
        elif _forget_most():
            self._start = _status("VmRSS") or 0
        else:
            self._start = private_memory()
            self._watcher = threading.Thread(target=self._watch, daemon=True)
            self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.most = torch.cuda.max_memory_allocated(self._device) - self._start
        elif self._watcher is None:
            self.most = max(0, (_status("VmHWM") or 0) - self._start)
        else:
            self._over.set()
            self._watcher.join()
            self._look()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            self._look()

    def _look(self) -> None:
        self.most = max(self.most, private_memory() - self._start)


def _status(field: str) -> int | None:
    """Bytes that Linux counts of the process under this name, proc(5); None on another system."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    return int(status.partition(f"{field}:")[2].split(maxsplit=1)[0]) * 1024


def _forget_most() -> bool:
    """Has Linux forget the most that the process has held; whether it could be told."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@cache
def _of_libc(function: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), function)
    except (OSError, AttributeError, TypeError):  # another C library, or another system
        return None
