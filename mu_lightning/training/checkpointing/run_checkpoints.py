"""Checkpoints of a run: atomic writes with hashes, and selection for resuming.

``NAME.ckpt`` has a manifest ``NAME.json`` with SHA-256, epoch, step, number of merges and configuration. The manifest
is written first and the checkpoint is renamed last, so a checkpoint under its final name is complete, and a hash
mismatch means later corruption.
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mu_lightning.utilities.checksums import file_hash
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_file, write_json
from mu_lightning.utilities.records import Record, read_record

RECORD = "run"  # key in Lightning checkpoints
_NAME = re.compile(r"epoch=\d+-step=\d+(-before-merge=\d+)?")
BEFORE_MERGE = "before merge"  # checkpoints with this reason are pruned separately


@dataclass(frozen=True)
class Saved:
    """A checkpoint with its manifest.

    Attributes:
        path: the checkpoint file.
        number: index of the checkpoint in the run.
        epoch: number of completed epochs.
        step: number of optimizer steps.
        merges: number of merges.
        reason: reason for saving: ``start``, ``interval``, ``before merge``, ``interrupted``, ``fault`` or ``end``.
        saved_at: Unix time.
        finished: whether this is the final state of training.
        config: configuration of the run as plain values.
        sha256: SHA-256 of the file.
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
        """Whether the file matches its hash; reads the file."""
        return file_hash(self.path) == self.sha256


class _Manifest(Record):
    number: int
    epoch: int
    step: int
    merges: int
    reason: str
    saved_at: float
    finished: bool
    config: dict[str, Any]
    sha256: str


def manifest_of(path: Path) -> Path:
    """Path of the manifest of a checkpoint."""
    return path.with_suffix(".json")


def read_saved(path: Path) -> Saved | None:
    """Reads a checkpoint's manifest; None if checkpoint or manifest is missing or invalid."""
    try:
        found = read_record(manifest_of(path), _Manifest, "the manifest of a checkpoint")
    except UserError:
        return None
    facts = {name: getattr(found, name) for name in _Manifest.model_fields}
    return Saved(path=path, **facts) if path.is_file() else None


def saved_checkpoints(folder: Path) -> list[Saved]:
    """Returns the checkpoints with manifests in a folder, in the order of saving."""
    found = (read_saved(path) for path in folder.glob("*.ckpt"))
    return sorted((saved for saved in found if saved), key=lambda saved: saved.number)


def last_checkpoint(folder: Path, verify: bool = True) -> Saved | None:
    """Returns the last checkpoint; None without checkpoints.

    Args:
        folder: folder of the checkpoints.
        verify: whether to verify its hash.

    Raises:
        UserError: the checkpoint is corrupt; the error names the previous one, which is never used silently.
    """
    saved = saved_checkpoints(folder)
    strays = sorted(path for path in folder.glob("*.ckpt") if read_saved(path) is None)
    if strays:
        raise _damaged(strays[-1], "its manifest is missing or invalid", saved)
    if not saved:
        return None
    if verify and not saved[-1].whole():
        raise _damaged(saved[-1].path, "its SHA-256 differs from the manifest", saved[:-1])
    return saved[-1]


def _damaged(path: Path, how: str, older: list[Saved]) -> UserError:
    for saved in reversed(older):
        if saved.whole():
            return UserError(
                f"the checkpoint {path} is corrupt: {how}; the previous one is valid (epoch {saved.epoch}, step "
                f"{saved.step}): resume from it with --resume --ckpt-path {saved.path}"
            )
    return UserError(f"the checkpoint {path} is corrupt: {how}; no other checkpoint is valid: use another --output-dir")


def mark_finished(path: Path) -> None:
    """Marks a checkpoint as the final state of training."""
    facts = json.loads(manifest_of(path).read_text(encoding="utf-8"))
    write_json(manifest_of(path), {**facts, "finished": True})


def next_number(folder: Path) -> int:
    """Returns the index of the next checkpoint."""
    return max((saved.number for saved in saved_checkpoints(folder)), default=-1) + 1


def prune(folder: Path, keep: int) -> None:
    """Removes all except the last `keep` checkpoints, and all except the last `keep` of those before merges."""
    for before_merge in (True, False):
        found = (one for one in saved_checkpoints(folder) if _NAME.fullmatch(one.path.stem))  # a copy has another name
        saved = [one for one in found if (one.reason == BEFORE_MERGE) == before_merge]
        for old in saved[:-keep]:
            old.path.unlink(missing_ok=True)
            manifest_of(old.path).unlink(missing_ok=True)


def clear_orphans(folder: Path) -> None:
    """Removes the manifests of checkpoints that a kill kept from getting their name."""
    for path in folder.glob("*.json"):
        if _NAME.fullmatch(path.stem) and not path.with_suffix(".ckpt").exists():
            path.unlink()


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint and its manifest, atomically and durably.

    Args:
        checkpoint: Lightning checkpoint, with our metadata under ``run``.
        path: the file.

    Raises:
        UserError: the disk is full; existing files are not changed.
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
                # torch does not chain the original exception of a failed write.
                cause = hashing.error or error
                if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise _no_room(path, needed, max(1, needed - hashing.written)) from error
                raise
        facts = {key: value for key, value in checkpoint.get(RECORD, {}).items() if key in Saved.__dataclass_fields__}
        write_json(manifest_of(path), {"sha256": hashing.digest.hexdigest(), "bytes": hashing.written, **facts})


def _no_room(path: Path, needed: int, missing: int) -> UserError:
    return UserError(
        f"the disk is full: the checkpoint {path.name} takes {_size(needed)} and {_size(missing)} are missing in "
        f"{path.parent}; older checkpoints are valid: free disk space and use --resume"
    )


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _tensors(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yields all tensors in nested containers; shared storage is counted once."""
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
    """A stream that hashes its content while writing."""

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
