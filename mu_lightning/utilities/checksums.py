"""SHA-256 of files, and beside a file, to tell whether it still is what was written."""

import hashlib
from pathlib import Path

from mu_lightning.utilities.files import write_text


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_checksum(path: Path) -> None:
    """Writes a file's hash beside it, into ``NAME.sha256``."""
    write_text(_checksum_of(path), f"{file_hash(path)}\n")


def has_checksum(path: Path) -> bool:
    """Whether a file is there and is what its hash beside it says; reads it once."""
    try:
        return path.is_file() and _checksum_of(path).read_text(encoding="utf-8").strip() == file_hash(path)
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _checksum_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
