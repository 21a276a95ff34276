"""A run's checkpoints on the disk: written whole or not at all, known by their hashes, found again to go on from.

Beside ``NAME.ckpt`` lies its manifest ``NAME.json`` with the file's SHA-256, epoch, step, number of merges and the
configuration. The manifest comes first and the rename of the checkpoint last, so a checkpoint that has its name is
whole, and one whose content is not what its manifest says was damaged later.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mu_lightning.utilities.checksums import file_hash
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, write_json

RECORD = "run"  # key of what we add to Lightning's checkpoint
BEFORE_MERGE = "before merge"  # the reason of a checkpoint that prunes by itself


@dataclass(frozen=True)
class Saved:
    """A checkpoint that has its name and its manifest.

    Attributes:
        path: the checkpoint.
        number: how many were saved before it in this run.
        epoch: completed epochs.
        step: optimizer steps done.
        merges: merges done.
        reason: why it was saved: ``start``, ``interval``, ``before merge``, ``interrupted``, ``fault`` or ``end``.
        saved_at: seconds since 1970.
        finished: whether it is the state in which training ended.
        config: the run's configuration as plain values.
        sha256: of the file.
    """

    path: Path
    number: int
    epoch: int
    step: int
    merges: int
    reason: str
    saved_at: float
    finished: bool
    config: Mapping[str, Any]
    sha256: str

    def whole(self) -> bool:
        """Whether the file's content is what was written; reads it once."""
        return file_hash(self.path) == self.sha256


def manifest_of(path: Path) -> Path:
    """Where a checkpoint's manifest lies."""
    return path.with_suffix(".json")


def read_saved(path: Path) -> Saved | None:
    """A checkpoint with its manifest; None where either is missing or the manifest cannot be read."""
    try:
        facts = json.loads(manifest_of(path).read_text(encoding="utf-8"))
        found = Saved(path=path, **{name: facts[name] for name in Saved.__dataclass_fields__ if name != "path"})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if path.is_file() else None


def saved_checkpoints(folder: Path) -> list[Saved]:
    """A folder's checkpoints with manifests, in the order in which they were saved."""
    found = (read_saved(path) for path in folder.glob("*.ckpt"))
    return sorted((saved for saved in found if saved), key=lambda saved: saved.number)


def last_checkpoint(folder: Path, verify: bool = True) -> Saved | None:
    """The checkpoint to go on from: the last one; None where there is none.

    Args:
        folder: where checkpoints lie.
        verify: whether to read it and compare its hash.

    Raises:
        UserError: it is damaged. The one before it is named, and never taken silently.
    """
    saved = saved_checkpoints(folder)
    strays = sorted(path for path in folder.glob("*.ckpt") if read_saved(path) is None)
    if strays:
        raise _damaged(strays[-1], "its manifest is missing or cannot be read", saved)
    if not saved:
        return None
    if verify and not saved[-1].whole():
        raise _damaged(saved[-1].path, "its content is not what its manifest says (SHA-256)", saved[:-1])
    return saved[-1]


def _damaged(path: Path, how: str, older: list[Saved]) -> UserError:
    for saved in reversed(older):
        if saved.whole():
            return UserError(
                f"the checkpoint {path} is damaged: {how}; the one before it is whole (epoch {saved.epoch}, step "
                f"{saved.step}): go on from it with --resume --ckpt-path {saved.path}"
            )
    return UserError(f"the checkpoint {path} is damaged: {how}; no other is whole: start again in another --output-dir")


def mark_finished(path: Path) -> None:
    """Notes in its manifest that training ended with this checkpoint."""
    facts = json.loads(manifest_of(path).read_text(encoding="utf-8"))
    write_json(manifest_of(path), {**facts, "finished": True})


def next_number(folder: Path) -> int:
    """The number of the checkpoint that is saved next: whatever was saved later is the later one."""
    return max((saved.number for saved in saved_checkpoints(folder)), default=-1) + 1


def prune(folder: Path, keep: int) -> None:
    """Removes all but the last `keep` checkpoints, and all but the last `keep` of those before merges."""
    for before_merge in (True, False):
        saved = [one for one in saved_checkpoints(folder) if (one.reason == BEFORE_MERGE) == before_merge]
        for old in saved[:-keep]:
            old.path.unlink(missing_ok=True)
            manifest_of(old.path).unlink(missing_ok=True)


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint and its manifest, durably; `path` is whole as soon as it exists.

    Args:
        checkpoint: Lightning's, with our facts under ``run``.
        path: where to.

    Raises:
        UserError: there is not enough room; what was there before is untouched.
    """
    import torch

    needed = sum(tensor.untyped_storage().nbytes() for tensor in _tensors(checkpoint, set()))
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise _no_room(path, needed, needed - free)
    with atomic_file(path) as temporary:
        with temporary.open("wb") as stream:
            hashing = _Hashing(stream)
            try:
                torch.save(checkpoint, hashing)  # type: ignore[arg-type]
                stream.flush()
                os.fsync(stream.fileno())
            except (OSError, RuntimeError) as error:
                # torch reports a write that failed in its own words and drops the cause.
                cause = hashing.error or error
                if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise _no_room(path, needed, max(1, needed - hashing.written)) from error
                raise
        facts = {key: value for key, value in checkpoint.get(RECORD, {}).items() if key in Saved.__dataclass_fields__}
        write_json(manifest_of(path), {"sha256": hashing.digest.hexdigest(), "bytes": hashing.written, **facts})


def _no_room(path: Path, needed: int, missing: int) -> UserError:
    return UserError(
        f"the disk is full: the checkpoint {path.name} takes {_size(needed)} and {_size(missing)} are missing in "
        f"{path.parent}; the older checkpoints are whole: make room and go on with --resume"
    )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _tensors(value: Any, seen: set[int]) -> Iterator[Any]:
    """Every tensor in nested containers whose memory was not met before: memory that is shared is stored once."""
    import torch

    if isinstance(value, torch.Tensor):
        memory = value.untyped_storage().data_ptr()
        if memory not in seen:
            seen.add(memory)
            yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one, seen)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one, seen)


class _Hashing:
    """A stream that hashes what passes through it, so that a large file need not be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()
        self.written = 0
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes and hashes."""
        try:
            self.stream.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        count = memoryview(data).nbytes
        self.written += count
        return count

    def flush(self) -> None:
        """Flushes the stream."""
        self.stream.flush()
