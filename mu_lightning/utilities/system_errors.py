"""What the system refuses (a full disk, a read-only folder, ...), as one kind of error and in one line."""

import errno
import os
import re
from pathlib import Path

_ADVICE = {
    errno.ENOSPC: ": make room, or name another place",
    errno.EDQUOT: ": make room, or name another place",
    errno.EROFS: ": name another place",
    errno.EACCES: ": name another place, or have its permissions changed",
}
# Libraries written in Rust, such as safetensors, put the system's number into the text of an error of their own.
_NUMBER = re.compile(r"\(os error (\d+)\)")


def system_error(error: BaseException, path: Path) -> OSError | None:
    """The system's error that a library's own stands for; None where it stands for none.

    Args:
        error: what was raised.
        path: what was being written or read.
    """
    found = None if isinstance(error, OSError) else _NUMBER.search(str(error))
    return None if found is None else OSError(int(found[1]), os.strerror(int(found[1])), str(path))


def told(error: OSError) -> str:
    """A system's error in one line, with what to do."""
    where = "" if error.filename is None else f"{error.filename}: "
    return f"{where}{error.strerror or error}{_ADVICE.get(error.errno or 0, '')}"
