"""Memory of the process: current usage, peak usage, and releasing freed memory to the system."""

import ctypes
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

# Seconds between two samples of the memory usage.
_SAMPLE_INTERVAL = 0.002
# Parameters of mallopt, from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def release_memory() -> None:
    """Releases freed memory to the system (glibc only)."""
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def retain_freed_memory() -> None:
    """Makes glibc retain freed memory for reuse by the next training step.

    By default glibc releases the end of the heap at once, and the system must clear the pages again. `release_memory`
    still releases retained memory.
    """
    mallopt = _of_libc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 10 * 2**20)  # larger allocations are mapped and unmapped separately
        mallopt(_M_TRIM_THRESHOLD, 64 * 2**20)


def private_memory() -> int:
    """Returns the resident memory of the process in bytes, on Linux without file mappings (``RssAnon``)."""
    found = _status("RssAnon")
    if found is not None:
        return found
    import psutil

    return int(psutil.Process().memory_info().rss)


class PeakMemory:
    """Context manager that measures the peak memory of a device; for a CPU, of the process.

    Linux tracks the peak of a process and can reset it (clear_refs, proc(5)). On other systems a thread samples the
    memory usage.

    Args:
        device: the device.

    Attributes:
        peak: after exit, peak memory in bytes relative to the start.
    """

    def __init__(self, device: torch.device) -> None:
        self.peak = 0
        self._device = device
        self._over = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._start = torch.cuda.memory_allocated(self._device)
        elif _reset_peak():
            self._start = _status("VmRSS") or 0
        else:
            self._start = private_memory()
            self._sampler = threading.Thread(target=self._sample_until_over, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.peak = torch.cuda.max_memory_allocated(self._device) - self._start
        elif self._sampler is None:
            self.peak = max(0, (_status("VmHWM") or 0) - self._start)
        else:
            self._over.set()
            self._sampler.join()
            self._sample()

    def _sample_until_over(self) -> None:
        while not self._over.wait(_SAMPLE_INTERVAL):
            self._sample()

    def _sample(self) -> None:
        self.peak = max(self.peak, private_memory() - self._start)


def _status(field: str) -> int | None:
    """Returns a field of /proc/self/status in bytes, proc(5); None on other systems."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return None
    return int(status.partition(f"{field}:")[2].split(maxsplit=1)[0]) * 1024


def _reset_peak() -> bool:
    """Resets the peak memory of the process; returns whether this is supported."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


@cache
def _of_libc(function: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), function)
    except (OSError, AttributeError, TypeError):  # another C library or system
        return None
