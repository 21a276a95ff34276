"""Reads local ``.wandb`` files."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK = 32768
_FILE_HEADER, _RECORD_HEADER = 7, 7
_FULL, _FIRST, _LAST = 1, 2, 4


def run_id(folder: Path) -> str | None:
    """Returns the id of the latest W&B run in ``<folder>/wandb``; None without one."""
    runs = sorted(folder.glob("wandb/*run-*-*/run-*.wandb"), key=lambda path: path.parent.name.partition("run-")[2])
    return runs[-1].stem.removeprefix("run-") if runs else None


def records(path: Path) -> Iterator[Any]:
    """Yields the records (protocol buffers) of a ``.wandb`` file, without an incomplete end.

    The file is a LevelDB log: blocks of 32 KiB with (fragments of) records, each with checksum, length and type.
    See https://github.com/google/leveldb/blob/main/doc/log_format.md.
    """
    from wandb.proto import wandb_internal_pb2

    content, place, whole = path.read_bytes(), _FILE_HEADER, b""
    while place + _RECORD_HEADER <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _RECORD_HEADER:  # padding shorter than a record header
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + _RECORD_HEADER])
        place += _RECORD_HEADER
        if kind not in range(_FULL, _LAST + 1) or place + length > len(content):
            return
        whole = (b"" if kind in (_FULL, _FIRST) else whole) + content[place : place + length]
        place += length
        if kind in (_FULL, _LAST):
            record: Any = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            record.ParseFromString(whole)
            yield record


def history(folder: Path, run: str) -> Iterator[dict[str, Any]]:
    """Yields the logged rows of a run, over all resumed parts."""
    paths = folder.glob(f"wandb/*run-*-{run}/run-{run}.wandb")
    for path in sorted(paths, key=lambda path: path.parent.name.partition("run-")[2]):
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                items = record.history.item
                yield {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
