"""Reads safetensors headers and writes safetensors files chunk by chunk.

The safetensors library writes tensors that are in memory only. The format is a header length of eight bytes, a JSON
header, and the bytes of the tensors without gaps (https://huggingface.co/docs/safetensors).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from mu_lightning.merging.engine.dtypes import SIZES
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    import numpy as np

# Name of the dtype, and shape of a tensor.
Kind = tuple[str, tuple[int, ...]]

# Dtypes of the format.
DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # as the safetensors library allows


@dataclass(frozen=True)
class Entry:
    """Location of a tensor: file, dtype name (such as ``float32``), shape and byte range."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def read_header(path: Path) -> dict[str, Entry]:
    """Reads the header of a safetensors file: tensor name -> location.

    Raises:
        UserError: the file is truncated, not a safetensors file, or its tensors overlap or leave gaps.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise UserError(f"{path} is not a complete safetensors file: its header exceeds its {size} bytes")
        try:
            header = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
            if not isinstance(header, dict):
                raise ValueError("its header is no JSON object")
            header.pop("__metadata__", None)
            entries = {name: _entry(path, 8 + length, fields) for name, fields in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} is not a safetensors file: {error}") from error
    at = 8 + length
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].stop)):
        if entry.start != at:
            problem = "overlaps the one before it" if entry.start < at else "leaves a gap before it"
            raise UserError(f"{path} is not a valid safetensors file: tensor {name} {problem}")
        at = entry.stop
    if at > size:
        raise UserError(f"{path} is truncated: its header declares {at} bytes, the file has {size}")
    if at < size:
        raise UserError(f"{path} is not a valid safetensors file: {size - at} bytes after its last tensor")
    return entries


def _entry(path: Path, offset: int, fields: Mapping[str, Any]) -> Entry:
    if fields["dtype"] not in DTYPES:
        raise ValueError(f"dtype {fields['dtype']} is not supported")
    dtype, shape = DTYPES[fields["dtype"]], tuple(int(size) for size in fields["shape"])
    start, stop = (int(position) for position in fields["data_offsets"])
    if start < 0 or any(size < 0 for size in shape) or stop - start != tensor_bytes((dtype, shape)):
        raise ValueError(f"a tensor of shape {list(shape)} and dtype {fields['dtype']} has {stop - start} bytes")
    return Entry(path, dtype, shape, offset + start, offset + stop)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name is repeated in its header")
    return names


def tensor_bytes(tensor: Kind) -> int:
    """Number of bytes of a tensor."""
    dtype, shape = tensor
    return SIZES[dtype] * math.prod(shape)


def layout(tensors: Mapping[str, Kind]) -> list[str]:
    """Order of the tensors in a file: wide dtypes first, which keeps all tensors aligned."""
    return sorted(tensors, key=lambda name: (-SIZES[tensors[name][0]], name))


def write_header(file: BinaryIO, tensors: Mapping[str, Kind]) -> None:
    """Writes the header of a file; the tensors must follow in the order of `layout`."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in layout(tensors):
        dtype, shape = tensors[name]
        stop = at + tensor_bytes(tensors[name])
        header[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [at, stop]}
        at = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)


def write_chunks(file: BinaryIO, chunks: "Iterable[np.ndarray]") -> None:
    """Writes contiguous arrays one after another."""
    for chunk in chunks:
        if chunk.size:
            file.write(chunk.data)
