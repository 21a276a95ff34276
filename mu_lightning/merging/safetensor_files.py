"""Safetensors files, read through the file cache and written a piece at a time.

The safetensors library writes only what is in memory as a whole; merging needs neither. The format: eight bytes of
header length, a JSON header, then the tensors' bytes without holes (https://huggingface.co/docs/safetensors).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mu_lightning.errors import UserError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # as the safetensors library allows


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: its file, dtype, shape and byte range in the file."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file by name, from its header alone.

    Raises:
        UserError: the file is truncated, its tensors overlap or leave holes, or it is no safetensors file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise UserError(f"{path} is not a whole safetensors file: its header would end after its {size} bytes")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
            header.pop("__metadata__", None)
            entries = {name: _entry(path, 8 + length, fields) for name, fields in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a safetensors file: {error}") from error
    at = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != at:
            problem = "overlaps the one before it" if entry.start < at else "leaves a hole before it"
            raise UserError(f"{path} is not a valid safetensors file: tensor {name} {problem}")
        at = entry.stop
    if at > size:
        raise UserError(f"{path} is truncated: its header promises {at} bytes, it has {size}")
    if at < size:
        raise UserError(f"{path} is not a valid safetensors file: {size - at} bytes after its last tensor")
    return entries


def _entry(path: Path, offset: int, fields: Mapping[str, Any]) -> Entry:
    if fields["dtype"] not in DTYPES:
        raise ValueError(f"tensors of dtype {fields['dtype']} are not known")
    dtype, shape = DTYPES[fields["dtype"]], tuple(int(size) for size in fields["shape"])
    start, stop = (int(position) for position in fields["data_offsets"])
    if start < 0 or any(size < 0 for size in shape) or stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"a tensor of shape {list(shape)} and dtype {fields['dtype']} has {stop - start} bytes")
    return Entry(path, dtype, shape, offset + start, offset + stop)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands twice in its header")
    return names


class MappedFiles:
    """Tensors mapped from their files: the system reads what is touched, and nothing is copied."""

    def __init__(self) -> None:
        self._maps: dict[Path, Tensor] = {}

    def tensor(self, entry: Entry) -> Tensor:
        """The tensor at `entry`; to be read only."""
        if entry.stop == entry.start:
            return torch.empty(entry.shape, dtype=entry.dtype)
        if entry.path not in self._maps:
            size = entry.path.stat().st_size
            self._maps[entry.path] = torch.from_file(str(entry.path), shared=False, size=size, dtype=torch.uint8)
        raw = self._maps[entry.path][entry.start : entry.stop]
        if entry.start % entry.dtype.itemsize:
            raw = raw.clone()  # a file whose header is not padded: such bytes cannot be read in place
        return raw.view(entry.dtype).view(entry.shape)


def layout(tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> list[str]:
    """The order in which a file's tensors are written: wide dtypes first, which keeps each of them aligned."""
    return sorted(tensors, key=lambda name: (-tensors[name][0].itemsize, name))


def write_header(file: BinaryIO, tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    """Writes the header of a file whose tensors' bytes then follow in the order of `layout`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in layout(tensors):
        dtype, shape = tensors[name]
        stop = at + math.prod(shape) * dtype.itemsize
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def write_pieces(file: BinaryIO, pieces: Iterable[Tensor]) -> None:
    """Writes tensors' bytes one after another."""
    for piece in pieces:
        if piece.numel():
            file.write(piece.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
