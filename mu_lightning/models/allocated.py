"""Memory that the process has freed but not handed back."""

import ctypes
from functools import cache
from typing import Any


def hand_back() -> None:
    """Hands freed memory back to the system, where the C library can (glibc): what comes next needs other sizes."""
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Any:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or another system
        return None
